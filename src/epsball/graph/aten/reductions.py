"""Sums, means, maxima, norms and softmax over axes."""

from collections.abc import Callable, Sequence
from typing import Any

from epsball.graph import decompositions, kinds, operations
from epsball.graph.aten.rule import RULES, Call, Number, Operand, Rule, aten, rule
from epsball.graph.value import Value


def _reduction(kind: Callable[..., kinds.Kind]) -> Rule:
    def apply(call: Call, x: Operand, axes: Sequence[int] | int | None = None, keep: bool = False, **_: Any) -> Value:
        """Return a reduction over axes, over all if none are given."""
        return operations.reduce(call.builder, call.value(x), kind, _axes(axes), keep)

    return apply


RULES.update(dict.fromkeys((aten.sum.dim_IntList, aten.sum.default), _reduction(kinds.Sum)))
RULES.update(dict.fromkeys((aten.mean.dim, aten.mean.default), _reduction(kinds.Mean)))
RULES.update(dict.fromkeys((aten.amax.default, aten.max.default), _reduction(kinds.Max)))


@rule(aten.amin.default, aten.min.default)
def minimum(call: Call, x: Operand, axes: Sequence[int] | int | None = None, keep: bool = False) -> Value:
    """Return the minimum over axes."""
    return decompositions.least(call.builder, call.value(x), _axes(axes), keep)


RULES[aten.max.dim] = lambda call, x, axis, keep=False: [_reduction(kinds.Max)(call, x, [axis], keep)]
RULES[aten.min.dim] = lambda call, x, axis, keep=False: [minimum(call, x, [axis], keep)]


@rule(aten.softmax.int, aten._softmax.default)
def softmax(call: Call, x: Operand, axis: int, *_: Any) -> Value:
    """Return exp(x_i) / sum_j exp(x_j)."""
    return operations.softmax(call.builder, call.value(x), axis)


@rule(aten.log_softmax.int, aten._log_softmax.default)
def log_softmax(call: Call, x: Operand, axis: int, *_: Any) -> Value:
    """Return x_i - log sum_j exp(x_j)."""
    return operations.softmax(call.builder, call.value(x), axis, kinds.LogSoftmax)


@rule(aten.logsumexp.default)
def log_sum_exp(call: Call, x: Operand, axes: Sequence[int], keep: bool = False) -> Value:
    """Return log sum exp(x) over axes."""
    return decompositions.log_sum_exp(call.builder, call.value(x), _axes(axes) or (), keep)


@rule(aten.linalg_vector_norm.default)
def norm(
    call: Call, x: Operand, order: Number = 2, axes: Sequence[int] | int | None = None, keep: bool = False, **_: Any
) -> Value:
    """Return the norm of order 1, 2 or infinity over axes."""
    return decompositions.norm(call.builder, call.value(x), order, _axes(axes), keep)


@rule(aten.norm.ScalarOpt_dim)
def old_norm(call: Call, x: Operand, order: Number | None, axes: Sequence[int], keep: bool = False) -> Value:
    """Return the norm, under the operator's older name."""
    return norm(call, x, 2 if order is None else order, axes, keep)


@rule(aten.var.correction, aten.var.dim)
def variance(call: Call, x: Operand, axes: Any = None, unbiased: bool = True, keepdim: bool = False, **options: Any):
    """Return the variance over axes."""
    x = call.value(x)
    over = range(x.rank) if axes is None else [axis % x.rank for axis in _axes(axes) or ()]
    correction = options.get("correction")
    divisor = float(unbiased) if correction is None else correction
    return decompositions.variance(call.builder, x, over, divisor, keepdim)


@rule(aten.std.correction, aten.std.dim)
def deviation(call: Call, *arguments: Any, **options: Any) -> Value:
    """Return the square root of the variance."""
    return operations.unary(call.builder, variance(call, *arguments, **options), "sqrt")


def _axes(axes: Sequence[int] | int | None) -> Sequence[int] | None:
    """Return axes as a sequence, None for all of them (an empty list means all too)."""
    return [axes] if isinstance(axes, int) else axes or None
