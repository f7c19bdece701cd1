"""Largest elements and their positions: soft membership in place of a choice."""

from typing import Any

import torch
from torch import Tensor

from epsball.attacks.adaptive.surrogates.call import AS_IT_IS, Call, Shadow, Surrogate, mean_size, moved


def position(largest: bool) -> Surrogate:
    """Return the surrogate of argmax or argmin: a softmax over the axis."""

    def of(call: Call) -> Shadow | None:
        x, dim = call.floating(call.args[0]), call.argument(1, "dim")
        if dim is None:
            return None
        return _soft_position(x, call.exact, dim, largest, bool(call.argument(2, "keepdim", False)))

    return of


def extreme_with_position(largest: bool) -> Surrogate:
    """Return the surrogate of max or min along an axis: the values as they are, the positions soft."""

    def of(call: Call) -> Any:
        dim = call.argument(1, "dim")
        if not isinstance(dim, int) or isinstance(call.exact, Tensor):
            return AS_IT_IS
        x, keep = call.floating(call.args[0]), bool(call.argument(2, "keepdim", False))
        values = call.run(x, dim, keep)[0]
        return values, _soft_position(x, call.exact[1], dim, largest, keep)

    return of


def _soft_position(x: Tensor, index: Tensor, dim: int, largest: bool, keep: bool) -> Shadow:
    """Return the mean position under a softmax, and the softmax as the membership."""
    weights = torch.softmax((x if largest else -x) / mean_size(x), dim)
    spread = [1] * x.ndim
    spread[dim] = x.shape[dim]
    places = torch.arange(x.shape[dim], device=x.device, dtype=x.dtype).view(spread)
    hard = torch.zeros_like(x).scatter(dim, index if keep else index.unsqueeze(dim), 1.0)
    mean = (weights * places).sum(dim, keepdim=keep)
    return Shadow(value=moved(index.to(x.dtype), mean), members=moved(hard, weights), ranked=x, dim=dim)


def leading(call: Call) -> Any:
    """Return topk: the values as they are, and how far each element is above the threshold."""
    x, k = call.floating(call.args[0]), call.argument(1, "k")
    dim, largest = call.argument(2, "dim", -1), bool(call.argument(3, "largest", True))
    values = call.run(x, *call.args[1:], **call.kwargs)[0]
    return values, _soft_members(x, call.exact[1], dim, k, largest)


def _soft_members(x: Tensor, index: Tensor, dim: int, k: int, largest: bool) -> Shadow:
    """Return the membership sigmoid((x - t) / s), t between the last element inside and the first outside."""
    ordered = x.detach().sort(dim, descending=largest).values
    n = x.shape[dim]
    inside = ordered.narrow(dim, max(0, min(k, n) - 1), 1)
    outside = ordered.narrow(dim, min(k, n - 1), 1)
    above = x - 0.5 * (inside + outside)
    above = above if largest else -above
    hard = torch.zeros_like(x).scatter(dim, index, 1.0)
    members = moved(hard, torch.sigmoid(above / mean_size(above)))
    return Shadow(value=index.to(x.dtype), members=members, ranked=x, dim=dim)


def in_order(call: Call) -> Any:
    """Return sort: the values as they are, the positions without a surrogate."""
    x = call.floating(call.args[0])
    values = call.run(x, *call.args[1:], **call.kwargs)[0]
    return values, Shadow(value=call.exact[1].to(x.dtype), ranked=x)


def one_hot(call: Call) -> Tensor | None:
    """Return the soft membership, or a bump of width 1 around a soft position, one column per class."""
    index, exact = call.given[0], call.exact
    shadow = call.shadow(index)
    if shadow is None:
        return None
    members = shadow.members
    if members is not None and members.ndim == exact.ndim and shadow.dim in (-1, members.ndim - 1):
        missing = exact.shape[-1] - members.shape[-1]
        if missing >= 0:
            return torch.nn.functional.pad(members, (0, missing))
    classes = torch.arange(exact.shape[-1], device=index.device, dtype=call.dtype)
    bumps = torch.softmax(-0.5 * (shadow.value[..., None] - classes).square(), -1)
    return moved(exact.to(call.dtype), bumps)


def scattered(call: Call) -> Tensor | None:
    """Return x with values put at positions, and the gradient of the positions' membership."""
    x, dim, index = call.args[0], call.argument(1, "dim"), call.given[2] if len(call.given) > 2 else None
    source = call.argument(3, "src", call.kwargs.get("value"))
    shadow = None if index is None else call.shadow(index)
    exact = call.exact
    if shadow is None:
        return call.run(call.floating(x), dim, index, call.floating(source))
    base = call.run(call.floating(x), dim, index, call.floating(source))
    if shadow.members is None or shadow.members.shape != exact.shape or shadow.ranked is None:
        return base
    put = shadow.ranked if isinstance(source, Tensor) and source.numel() > 1 else source
    gap = torch.as_tensor(put, device=exact.device).detach() - call.floating(x).detach()
    return moved(base, shadow.members * gap)


RANKING: dict[str, Surrogate] = {
    "argmax": position(True),
    "argmin": position(False),
    "max": extreme_with_position(True),
    "min": extreme_with_position(False),
    "topk": leading,
    "sort": in_order,
    "one_hot": one_hot,
    "scatter": scattered,
}
"""Surrogates by the operation's name."""
