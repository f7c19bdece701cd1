"""Verifying: what a run folder claims, checked again by a stranger, with the model and the data or without."""

from epsball.auditing.verifying.result import Finding, RunVerification
from epsball.auditing.verifying.verify_run import verify_run

__all__ = ["Finding", "RunVerification", "verify_run"]
