"""Checking: what is understood of a model and its data, and what an audit of them would cost, in seconds."""

from epsball.auditing.checking.check import check
from epsball.auditing.checking.result import EffortCost, Guard, MethodFinding, ModelCheck

__all__ = ["EffortCost", "Guard", "MethodFinding", "ModelCheck", "check"]
