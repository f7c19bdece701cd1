"""How a query is refuted: what shows that no input of a region satisfies it."""

from epsball.verification.proving.cascade import run_cascade
from epsball.verification.proving.complete import complete
from epsball.verification.proving.input_splits import InputSplits
from epsball.verification.proving.task import Task

__all__ = ["InputSplits", "Task", "complete", "run_cascade"]
