"""Operations that are flat where they saturate: a slope, for rows of which almost nothing passes a gradient."""

from collections.abc import Callable

import torch
from torch import Tensor

from epsball.attacks.adaptive.surrogates.call import AS_IT_IS, Call, Surrogate, mean_size

ALIVE = 0.05
"""Share of a row's entries that must pass a gradient for it to be left as it is."""

_SLOPE = 1e-3
"""Slopes below this share of the largest one count as flat."""


def _rows_alive(alive: Tensor) -> Tensor:
    """Return which rows pass enough of a gradient, of the same number of axes."""
    share = alive.double()
    if alive.ndim > 1:
        share = share.flatten(1).mean(1).view(-1, *[1] * (alive.ndim - 1))
    return share >= ALIVE


def _mixed(call: Call, alive: Tensor, slope: Callable[[Tensor], Tensor]) -> object:
    """Return the operation itself in rows that are alive, the stand-in in others."""
    rows = _rows_alive(alive)
    if bool(rows.all()):
        return AS_IT_IS
    x = call.floating(call.args[0])
    kwargs = {key: value for key, value in call.kwargs.items() if key != "inplace"}
    natural = call.run(x, *call.args[1:], **kwargs)
    return torch.where(rows, natural, slope(x).to(natural.dtype))


def rectified(call: Call) -> object:
    """Return relu, or s softplus(x / s)."""
    return _mixed(call, call.exact > 0, lambda x: mean_size(x) * torch.nn.functional.softplus(x / mean_size(x)))


def clamped(call: Call) -> object:
    """Return clamp, or the identity."""
    if not isinstance(call.exact, Tensor) or call.exact.shape != call.given[0].shape:
        return AS_IT_IS
    return _mixed(call, call.exact == call.given[0], lambda x: x)


def sigmoid(call: Call) -> object:
    """Return the logistic function, or that of x / s."""
    y = call.exact
    return _mixed(call, y * (1 - y) > 0.25 * _SLOPE, lambda x: torch.sigmoid(x / mean_size(x)))


def tanh(call: Call) -> object:
    """Return tanh, or that of x / s."""
    return _mixed(call, 1 - call.exact.square() > _SLOPE, lambda x: torch.tanh(x / mean_size(x)))


def hard_sigmoid(call: Call) -> object:
    """Return hardsigmoid, or the logistic function of x / s."""
    y = call.exact
    return _mixed(call, (y > 0) & (y < 1), lambda x: torch.sigmoid(x / mean_size(x)))


def softmax(call: Call) -> object:
    """Return softmax, or that of x / s."""
    dim, y = call.argument(1, "dim"), call.exact
    if not isinstance(dim, int):
        return AS_IT_IS
    return _mixed(call, y * (1 - y) > 0.25 * _SLOPE, lambda x: torch.softmax(x / mean_size(x), dim))


SATURATING: dict[str, Surrogate] = {
    **dict.fromkeys(("relu", "threshold", "_threshold"), rectified),
    **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max", "hardtanh", "relu6"), clamped),
    **dict.fromkeys(("sigmoid", "special_expit"), sigmoid),
    "tanh": tanh,
    "hardsigmoid": hard_sigmoid,
    "softmax": softmax,
}
"""Surrogates by the operation's name."""
