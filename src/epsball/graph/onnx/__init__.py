"""ONNX files as graphs (extra ``onnx``)."""

from epsball.graph.onnx.importer import read_onnx
from epsball.graph.onnx.runtime_module import RuntimeModule, runtime_module

__all__ = ["RuntimeModule", "read_onnx", "runtime_module"]
