"""The hand-written loops every other contender is measured against, and epsball itself."""

import copy
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import epsball as eb
from harness import Passes, interleaved
from other_libraries import OTHER_LIBRARIES
from task import Attack, Task

BARE = "bare loop"


def bare(task: Task, module: nn.Module) -> Attack:
    """Return PGD as one writes it by hand: K backward and K + 1 forward passes, the last iterate judged."""
    loop = {"linf": bare_linf, "l2": bare_l2}[task.norm]

    def attack(x: Tensor, y: Tensor) -> Tensor:
        return confirmed(module, loop(task, module, x, y), x, y)

    return attack


def confirmed(module: nn.Module, x_adv: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return x_adv where it is misclassified, else x."""
    with torch.no_grad():
        broken = module(x_adv).argmax(1) != y
    return torch.where(broken.view(-1, 1, 1, 1), x_adv, x)


def bare_linf(task: Task, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the last iterate of PGD in the linf ball, from a uniform start."""
    low, high = (x - task.radius).clamp(min=0), (x + task.radius).clamp(max=1)
    x_adv = x.add(torch.empty_like(x).uniform_(-task.radius, task.radius)).clamp(0, 1)
    for _ in range(task.steps):
        gradient = input_gradient(module, x_adv, y)
        x_adv = x_adv.add(gradient.sign(), alpha=task.step).clamp(low, high)
    return x_adv


def bare_l2(task: Task, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the last iterate of PGD in the l2 ball, from a uniform start; the box is clipped to last."""
    direction = torch.randn_like(x)
    length = task.radius * torch.rand(len(x)).pow(1 / x[0].numel()).view(-1, 1, 1, 1)
    x_adv = (x + direction * length / norms(direction)).clamp(0, 1)
    for _ in range(task.steps):
        gradient = input_gradient(module, x_adv, y)
        delta = x_adv + gradient * (task.step / norms(gradient).clamp(min=1e-12)) - x
        x_adv = (x + delta * (task.radius / norms(delta).clamp(min=task.radius))).clamp(0, 1)
    return x_adv


def input_gradient(module: nn.Module, points: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the summed cross-entropy in the points."""
    points = points.detach().requires_grad_()
    loss = functional.cross_entropy(module(points), y, reduction="sum")
    return torch.autograd.grad(loss, points)[0]


def norms(points: Tensor) -> Tensor:
    """Return the l2 norm of each example, shaped to multiply it."""
    return points.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def bare_bf16(task: Task, module: nn.Module) -> Attack:
    """Return the same loop under bfloat16 autocast with channels-last weights, judged in float32."""
    reduced = Autocast(copy.deepcopy(module).to(memory_format=torch.channels_last))
    loop = {"linf": bare_linf, "l2": bare_l2}[task.norm]

    def attack(x: Tensor, y: Tensor) -> Tensor:
        return confirmed(module, loop(task, reduced, x.contiguous(memory_format=torch.channels_last), y), x, y)

    return attack


class Autocast(nn.Module):
    """A module run under bfloat16 autocast that gives float32 logits."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.module(x).float()


def ours(stop: str, precision: str, kind: type = eb.attacks.PGD) -> Callable[[Task, nn.Module], Attack]:
    """Return what makes epsball's attack of this kind with these options."""

    def make(task: Task, module: nn.Module) -> Attack:
        classifier, ball = eb.Classifier(module), eb.Ball.parse(task.ball)
        options = {"method": kind(steps=task.steps), "stop": stop, "precision": precision}
        return lambda x, y: eb.attack(classifier, x, y, ball, **options).x_adv

    return make


CONTENDERS: dict[str, Callable[[Task, nn.Module], Attack]] = {
    BARE: bare,
    "bare loop again": bare,
    "bare loop bf16": bare_bf16,
    "epsball": ours("never", "float32"),
    "epsball bf16": ours("never", "bf16"),
    "epsball first": ours("first", "float32"),
    "epsball apgd": ours("never", "float32", eb.attacks.APGD),
    **OTHER_LIBRARIES,
}


SIZES = (4, 16, 32, 64, 128, 256)
"""Rows of the plain calls that are timed; between them times are interpolated."""


@dataclass(frozen=True, kw_only=True)
class BareCalls:
    """CPU seconds of a plain call, a forward and a forward with the input gradient, at some batch sizes."""

    forward: list[float]
    both: list[float]

    @classmethod
    def of(cls, module: nn.Module, x: Tensor, y: Tensor) -> "BareCalls":
        """Time the calls on the images, which are repeated where there are too few."""
        batches = [torch.arange(size) % len(x) for size in SIZES]
        times = [bare_pass(module, x[rows], y[rows], 5, calls=SIZES[-1] // len(rows)) for rows in batches]
        forward, both = ([t[i] * size for t, size in zip(times, SIZES, strict=True)] for i in (0, 1))
        return cls(forward=forward, both=both)

    def seconds(self, passes: Passes) -> float:
        """Return the time of as many plain calls of the same sizes."""
        backward = [both - forward for both, forward in zip(self.both, self.forward, strict=True)]
        return sum(
            number * _interpolated(rows, times)
            for calls, times in ((passes.forward_calls, self.forward), (passes.backward_calls, backward))
            for rows, number in calls.items()
        )


def _interpolated(rows: int, times: list[float]) -> float:
    """Return the time of a call with this number of rows; beyond the largest size it grows in proportion."""
    return float(np.interp(rows, SIZES, times)) * max(1.0, rows / SIZES[-1])


def bare_pass(module: nn.Module, x: Tensor, y: Tensor, repetitions: int = 15, calls: int = 1) -> tuple[float, float]:
    """Return CPU seconds per image of a plain forward, and of a forward with the input gradient (medians).

    `calls` calls are timed together: one small call alone finds cold caches.
    """

    def forward() -> None:
        with torch.no_grad():
            for _ in range(calls):
                module(x)

    def both() -> None:
        for _ in range(calls):
            input_gradient(module, x, y)

    seconds = interleaved({"forward": forward, "both": both}, repetitions, 0)
    medians = {name: statistics.median(values) / (calls * len(x)) for name, values in seconds.items()}
    return medians["forward"], medians["both"]
