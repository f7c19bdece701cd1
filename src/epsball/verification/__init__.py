"""Verification: whether an input satisfies a VNN-LIB query about an ONNX file, with a witness or a proof."""

from epsball.verification.assignment import assignment_text, write_assignment
from epsball.verification.batch import BatchVerification, Instance, verify_batch
from epsball.verification.capabilities import CAPABILITIES, supported
from epsball.verification.result import Answer, Verification
from epsball.verification.verify import verify
from epsball.verification.vnnlib import Query, read_query
from epsball.verification.witness import Witness

__all__ = [
    "CAPABILITIES",
    "Answer",
    "BatchVerification",
    "Instance",
    "Query",
    "Verification",
    "Witness",
    "assignment_text",
    "read_query",
    "supported",
    "verify",
    "verify_batch",
    "write_assignment",
]
