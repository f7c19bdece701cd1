"""Verification: whether an input satisfies a VNN-LIB query about an ONNX file, with a witness or a proof."""

from epsball.verification.result import Answer, Verification
from epsball.verification.verify import verify
from epsball.verification.witness import Witness

__all__ = ["Answer", "Verification", "Witness", "verify"]
