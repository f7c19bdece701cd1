"""ONNX files as graphs (extra ``onnx``)."""

from epsball.graph.onnx.importer import read_onnx

__all__ = ["read_onnx"]
