"""Comparisons, logic and masks: smooth steps in place of 0 and 1."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from epsball.attacks.adaptive.surrogates.call import Call, Surrogate, mean_size, moved, step


def _difference(call: Call) -> Tensor:
    a, b = map(call.floating, call.args[:2])
    return a - b


def greater(call: Call) -> Tensor:
    """Return a smooth a > b."""
    return step(_difference(call))


def less(call: Call) -> Tensor:
    """Return a smooth a < b."""
    return step(-_difference(call))


def equal(call: Call) -> Tensor:
    """Return exp(-|a - b| / s), s the mean size of the row's differences."""
    d = _difference(call)
    return torch.exp(-d.abs() / mean_size(d))


def unequal(call: Call) -> Tensor:
    """Return 1 minus a smooth a == b."""
    return 1 - equal(call)


def heaviside(call: Call) -> Tensor:
    """Return a smooth x > 0."""
    return step(call.floating(call.args[0]))


def negative(call: Call) -> Tensor:
    """Return a smooth x < 0."""
    return step(-call.floating(call.args[0]))


def _truth(call: Call, value: Any) -> Any:
    """Return how true a value is: a stand-in of truth values as it is, of numbers by their size."""
    value = call.floating(value)
    if not isinstance(value, Tensor) or bool(((value == 0) | (value == 1)).all()):
        return value
    return torch.tanh(value.abs() / mean_size(value))


def _of_numbers(call: Call) -> bool:
    return isinstance(call.exact, Tensor) and call.exact.dtype != torch.bool


def both(call: Call) -> Tensor:
    """Return a b for truth values; for bits of numbers, the first: masks keep the leading ones."""
    if _of_numbers(call):
        return call.floating(call.args[0])
    a, b = (_truth(call, value) for value in call.args[:2])
    return a * b


def either(call: Call) -> Tensor:
    """Return a + b - a b for truth values; for bits of numbers, the first."""
    if _of_numbers(call):
        return call.floating(call.args[0])
    a, b = (_truth(call, value) for value in call.args[:2])
    return a + b - a * b


def one_of_two(call: Call) -> Tensor:
    """Return a + b - 2 a b for truth values; for bits of numbers, the first."""
    if _of_numbers(call):
        return call.floating(call.args[0])
    a, b = (_truth(call, value) for value in call.args[:2])
    return a + b - 2 * a * b


def inverse(call: Call) -> Tensor:
    """Return 1 - a for truth values, -1 - a for bits of numbers."""
    a = call.floating(call.args[0])
    return -1 - a if _of_numbers(call) else 1 - _truth(call, a)


def left_shift(call: Call) -> Tensor:
    """Return a 2^b."""
    a, b = map(call.floating, call.args[:2])
    return a * 2.0**b


def right_shift(call: Call) -> Tensor:
    """Return a / 2^b."""
    a, b = map(call.floating, call.args[:2])
    return a / 2.0**b


def extreme(reduce: Callable[..., Tensor]) -> Surrogate:
    """Return the surrogate of any (the largest truth) or all (the smallest)."""

    def of(call: Call) -> Tensor:
        truth = _truth(call, call.args[0])
        dim = call.argument(1, "dim")
        if dim is None:
            return reduce(truth)
        return reduce(truth, dim=dim, keepdim=bool(call.argument(2, "keepdim", False)))

    return of


def count(call: Call) -> Tensor:
    """Return the sum of truths."""
    truth, dim = _truth(call, call.args[0]), call.argument(1, "dim")
    return truth.sum() if dim is None else truth.sum(dim)


def chosen(call: Call) -> Tensor | None:
    """Return where(c, a, b) with the gradient c' (a - b) of its condition added."""
    condition, a, b = (call.argument(i, name) for i, name in enumerate(("condition", "input", "other")))
    if a is None or b is None:
        return None
    return _blend(call, condition, call.given[0], a, b)


def chosen_method(call: Call) -> Tensor | None:
    """Return a.where(c, b) likewise."""
    if isinstance(call.given[0], Tensor) and call.given[0].dtype == torch.bool and len(call.args) == 3:
        return chosen(call)
    a, condition, b = call.args[0], call.argument(1, "condition"), call.argument(2, "other")
    if b is None:
        return None
    return _blend(call, condition, call.given[1] if len(call.given) > 1 else condition, a, b)


def filled(call: Call) -> Tensor | None:
    """Return x with a value where the mask holds, and the gradient of the mask."""
    x, mask, value = call.args[0], call.argument(1, "mask"), call.argument(2, "value")
    if value is None or len(call.given) < 2:
        return None
    return _blend(call, mask, call.given[1], value, x)


def _blend(call: Call, soft: Tensor, hard: Tensor, a: Any, b: Any) -> Tensor:
    """Return where(hard, a, b), with the gradient of soft (a - b) beside its own."""
    like = next(v for v in (a, b, soft) if isinstance(v, Tensor))
    a, b = (call.floating(v if isinstance(v, Tensor) else torch.as_tensor(v, device=like.device)) for v in (a, b))
    dtype = call.exact.dtype if call.exact.is_floating_point() else call.dtype
    a, b = a.to(dtype), b.to(dtype)
    base = torch.where(hard.bool(), a, b)
    if not soft.is_floating_point():
        return base
    gap = (a - b).detach().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return moved(base, soft.to(dtype) * gap)


COMPARING: dict[str, Surrogate] = {
    **dict.fromkeys(("gt", "ge", "greater", "greater_equal", "__gt__", "__ge__"), greater),
    **dict.fromkeys(("lt", "le", "less", "less_equal", "__lt__", "__le__"), less),
    **dict.fromkeys(("eq", "isclose", "__eq__"), equal),
    **dict.fromkeys(("ne", "not_equal", "__ne__"), unequal),
    "heaviside": heaviside,
    "signbit": negative,
    **dict.fromkeys(("logical_and", "bitwise_and", "__and__", "__rand__"), both),
    **dict.fromkeys(("logical_or", "bitwise_or", "__or__", "__ror__"), either),
    **dict.fromkeys(("logical_xor", "bitwise_xor", "__xor__", "__rxor__"), one_of_two),
    **dict.fromkeys(("logical_not", "bitwise_not", "__invert__"), inverse),
    **dict.fromkeys(("bitwise_left_shift", "__lshift__"), left_shift),
    **dict.fromkeys(("bitwise_right_shift", "__rshift__"), right_shift),
    "any": extreme(torch.amax),
    "all": extreme(torch.amin),
    "count_nonzero": count,
    "where": chosen_method,
    "masked_fill": filled,
}
"""Surrogates by the operation's name."""
