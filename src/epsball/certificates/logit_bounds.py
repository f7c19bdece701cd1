"""`logit_bounds`: what every method says of the logits of one example, side by side."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64
from torch import Tensor

from epsball import progress, results
from epsball.ball import Ball
from epsball.certificates.arithmetic import Semantics, arithmetic_of
from epsball.certificates.domain import Domain
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.registry import AUTO, METHODS, methods_of
from epsball.certificates.verifier import Verifier
from epsball.checks import check_count, check_positive
from epsball.classifier import Classifier
from epsball.errors import InputError, UnsupportedOperation

if TYPE_CHECKING:
    import pyarrow

GAP = 1e-4
"""How near `complete` seeks each end."""

_COLUMNS = 5
"""Classes that are printed side by side."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LogitBounds(results.Result):
    """Bounds [f_min, f_max] of the logits on one ball, by method.

    Parameters
    ----------
    logits
        The logits at x itself, (classes,).
    low, high
        By method the ends, (classes,): every logit lies between them on the whole ball.
    seconds
        CPU seconds by method.
    refused
        By method, why it gives no bounds.
    semantics
        ``"float32"``, the deployed network, or ``"real"``, the function of its weights.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> found = eb.certificates.logit_bounds(
    ...     eb.Classifier(torch.nn.ReLU()), torch.tensor([[0.8, 0.3]]), eb.Ball("linf", "1/10"), method="crown"
    ... )
    >>> print(f"{found.low['crown'][0]:.4f} {found.high['crown'][0]:.4f}")
    0.7000 0.9000
    """

    logits: Float64[Tensor, " classes"]
    low: dict[str, Float64[Tensor, " classes"]]
    high: dict[str, Float64[Tensor, " classes"]]
    seconds: dict[str, float]
    refused: dict[str, str]
    semantics: str

    def __str__(self) -> str:
        lines = [f"logits on the ball, [f_min, f_max] by method; semantics: {self.semantics}"]
        for start in range(0, len(self.logits), _COLUMNS):
            some = range(start, min(start + _COLUMNS, len(self.logits)))
            rows = [["at x", None, *(f"{self.logits[j]:.4f}" for j in some)]]
            rows += [
                [name, self.seconds[name], *(f"[{self.low[name][j]:.4f}, {self.high[name][j]:.4f}]" for j in some)]
                for name in self.low
            ]
            lines += ["", results.text_table(["method", "CPU-s", *(f"class {j}" for j in some)], rows)]
        return "\n".join([*lines, *(f"{name}: {why}" for name, why in self.refused.items())])

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON's types."""
        return results.jsonable({name: getattr(self, name) for name in self.__dataclass_fields__})

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per method and class."""
        pairs = [(name, j) for name in self.low for j in range(len(self.logits))]
        return results.arrow_table(
            {
                "method": [name for name, _ in pairs],
                "class": torch.tensor([j for _, j in pairs]),
                "low": torch.cat([torch.zeros(0, dtype=torch.float64), *self.low.values()]),
                "high": torch.cat([torch.zeros(0, dtype=torch.float64), *self.high.values()]),
            }
        )


def logit_bounds(
    classifier: Classifier,
    x: Tensor,
    ball: Ball,
    *,
    method: str = AUTO,
    semantics: Semantics = "float32",
    cpu_seconds: float = 20.0,
    max_memory: int | None = None,
) -> LogitBounds:
    """Bound every logit of one example from both sides.

    The chapter's criterion compares these: the prediction is stable where f_min of its class lies above f_max of every
    other. Bounds on differences of logits (`certify`) are never looser and mostly much tighter.

    Parameters
    ----------
    classifier, x, ball
        The model, one example (1, *shape), in the box or uint8 pixels, and its ball.
    method
        One method, or ``"auto"`` for every one that is registered, in the order of their cost.
    semantics
        The claim, as for `certify`.
    cpu_seconds
        CPU seconds after which no further method is begun; what is left of them is for the search of ``"complete"``.
    max_memory
        Bytes that the rows of backward bounds may take at a time; None means no limit.

    Returns
    -------
    LogitBounds
        Methods that do not cover the network or the ball are in its `refused`.

    Raises
    ------
    InputError
        If data or options break a rule.
    UnsupportedOperation
        If the network cannot be captured, or masks classes, whose logits are -infinity.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x, ball = torch.tensor([[0.8, 0.3]]), eb.Ball("linf", "1/10")
    >>> sorted(eb.certificates.logit_bounds(eb.Classifier(torch.nn.ReLU()), x, ball).refused)
    []
    """
    arithmetic = arithmetic_of(semantics)
    check_positive("cpu_seconds", cpu_seconds)
    check_count("max_memory", max_memory, unit="bytes", optional=True)
    x = classifier.pixels(x)
    if len(x) != 1:
        raise InputError(f"x holds {len(x)} examples; logits are bounded for one at a time: x[:1].")
    classes = classifier.check(x, torch.zeros(1, dtype=torch.int64))
    verifier = Verifier.of(classifier, tuple(x.shape[1:]), arithmetic)
    if verifier.finite is not None:
        raise UnsupportedOperation("a class is masked: its logit is -infinity. Bound margins, by certify.")
    with torch.no_grad():
        logits = classifier.logits(x).double().cpu()[0]
    unit = torch.eye(classes, dtype=torch.float64)
    problem = Problem(
        graph=verifier.graph,
        domain=Domain.of(ball, x.cpu()),
        specification=torch.cat([unit, -unit])[None],
        arithmetic=arithmetic,
        max_memory=max_memory,
    )
    names = tuple(METHODS) if method == AUTO else methods_of(method, verifier.graph, ball.norm)
    return _by_method(problem, names, logits, cpu_seconds)


def _by_method(problem: Problem, names: Sequence[str], logits: Tensor, limit: float) -> LogitBounds:
    """Run methods until the limit is reached."""
    low, high, seconds, refused = {}, {}, {}, {}
    classes, spent = len(logits), 0.0
    for number, name in enumerate(names):
        if spent >= limit:
            refused[name] = f"not run, for the limit of {limit:g} CPU seconds was reached"
            continue
        begun = time.process_time()
        try:
            rows = _bounds(replace(problem, cpu_seconds=limit - spent), name).rows[0]
        except UnsupportedOperation as error:
            refused[name] = str(error)
            continue
        seconds[name] = time.process_time() - begun
        spent += seconds[name]
        low[name], high[name] = rows[:classes], -rows[classes:]
        progress.report("methods run", number + 1, len(names))
    return LogitBounds(
        logits=logits, low=low, high=high, seconds=seconds, refused=refused, semantics=problem.arithmetic.name
    )


def _bounds(problem: Problem, name: str) -> LowerBounds:
    # The sign of a logit says nothing: its ends are sought, not a proof that it is positive.
    return METHODS[name](problem, gap=GAP) if name == "complete" else METHODS[name](problem)
