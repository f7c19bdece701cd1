"""Comparing: in what two networks, or two methods of several seeds, differ, by exact tests on the evidence."""

from epsball.auditing.comparing.by_ball import ComparisonByBall, compare_by_ball
from epsball.auditing.comparing.compare import compare
from epsball.auditing.comparing.recorded import RecordedRun
from epsball.auditing.comparing.result import Comparison, Difference, MethodDifference

__all__ = [
    "Comparison",
    "ComparisonByBall",
    "Difference",
    "MethodDifference",
    "RecordedRun",
    "compare",
    "compare_by_ball",
]
