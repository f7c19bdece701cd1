"""The gate: whether a classifier is robust enough, decided on as few examples as the answer needs."""

from epsball.auditing.gating.conditions import Condition
from epsball.auditing.gating.gate import gate
from epsball.auditing.gating.lock import Lock
from epsball.auditing.gating.result import Decision, Gate
from epsball.auditing.gating.sarif import Place, to_sarif

__all__ = ["Condition", "Decision", "Gate", "Lock", "Place", "gate", "to_sarif"]
