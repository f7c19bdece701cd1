"""Measuring contenders side by side: CPU time, passes and memory, with the noise that is there.

Knows nothing of attacks. A contender is a function without arguments; each is timed once per
repetition, in random order, so that disturbances hit all of them, and ratios are taken within a
repetition.
"""

import gc
import multiprocessing
import os
import platform
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MEBIBYTE = 2**20

Run = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median, quartiles and extremes of repeated measurements."""

    median: float
    lower: float
    upper: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least two values."""
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median=median, lower=lower, upper=upper, least=min(values), most=max(values), count=len(values))


def single_threaded() -> None:
    """Let torch compute in one thread: two, under contention, cost several times the CPU time."""
    torch.set_num_threads(1)


def cpu_seconds(run: Run) -> float:
    """Return the CPU time of all threads of this process during one call."""
    gc.collect()
    begun = time.process_time()
    run()
    return time.process_time() - begun


def interleaved(runs: Mapping[str, Run], repetitions: int, seed: int) -> dict[str, list[float]]:
    """Time every contender once per repetition, in random order, after one warm-up each.

    Returns
    -------
    dict
        CPU seconds by name; the k-th entries of all names belong to one repetition.
    """
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    order, shuffler = list(runs), random.Random(seed)
    for _ in range(repetitions):
        shuffler.shuffle(order)
        for name in order:
            seconds[name].append(cpu_seconds(runs[name]))
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], name: str, baseline: str) -> Spread:
    """Return the spread of one contender's time over another's, each ratio within a repetition."""
    return Spread.of([mine / its for mine, its in zip(seconds[name], seconds[baseline], strict=True)])


@dataclass
class Passes:
    """Examples a module was run on: forwards, and backwards that reached its input.

    ``forward_calls`` and ``backward_calls`` map a number of rows to the number of calls with it.
    """

    forward: int = 0
    backward: int = 0
    forward_calls: Counter[int] = field(default_factory=Counter)
    backward_calls: Counter[int] = field(default_factory=Counter)


def counted(module: nn.Module) -> tuple[nn.Module, Passes]:
    """Return the module inside one that counts its passes, and the counts.

    It counts whoever calls it, by hooks on the container: some callers run a ``Sequential`` layer
    by layer, past its own hooks. The hooks are closures, so that a deep copy counts too.
    """
    passes = Passes()

    def backward(gradient: Tensor) -> None:
        passes.backward += len(gradient)
        passes.backward_calls[len(gradient)] += 1

    def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        passes.forward += len(inputs[0])
        passes.forward_calls[len(inputs[0])] += 1
        if inputs[0].requires_grad and torch.is_grad_enabled():
            inputs[0].register_hook(backward)

    container = Container(module)
    container.register_forward_pre_hook(before)
    return container.eval(), passes


class Container(nn.Module):
    """A module that does what the one inside does."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Return the inner module's output."""
        return self.module(x)


def memory_growth(run: Run, calls: int = 3) -> float | None:
    """Return how far a warm call lifts the process's peak resident memory, in MiB (median of calls).

    It counts everything the process touches, tensors, scratch space of kernels and Python's
    objects alike. None where the system does not tell (it takes Linux's ``/proc``).
    """
    run()
    growths = [growth for _ in range(calls) if (growth := first_growth(run)) is not None]
    return statistics.median(growths) if growths else None


def first_growth(run: Run) -> float | None:
    """Return how far one call lifts the process's peak resident memory, in MiB, what it keeps included."""
    peak_reset = Path("/proc/self/clear_refs")
    if not peak_reset.exists():
        return None
    gc.collect()
    peak_reset.write_text("5")
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / MEBIBYTE


def _status(field: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"/proc/self/status has no field {field}.")
    return int(match[1]) * 1024


def in_fresh_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a module-level function in a new interpreter in which freed memory goes back to the system.

    A fixed threshold keeps glibc from growing it and then holding on to what tensors free.
    """
    os.environ["MALLOC_MMAP_THRESHOLD_"] = os.environ["MALLOC_TRIM_THRESHOLD_"] = str(64 * 1024)
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        del os.environ["MALLOC_MMAP_THRESHOLD_"], os.environ["MALLOC_TRIM_THRESHOLD_"]


def machine() -> dict[str, object]:
    """Return what the figures depend on beside the code."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", flags)
    return {
        "processor": model[1] if model else platform.processor(),
        "bf16": sorted(set(re.findall(r"\b(?:avx512_bf16|amx_bf16)\b", flags))),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
