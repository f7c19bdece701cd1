"""Bins and tables: slopes between neighbouring entries."""

import torch
from torch import Tensor

from epsball.attacks.adaptive.surrogates.call import AS_IT_IS, Call, Shadow, Surrogate, moved


def bins(call: Call) -> Tensor | None:
    """Return the number of the bin with slope 1 / width, for bucketize(x, boundaries)."""
    return _bins(call, call.floating(call.args[0]), call.argument(1, "boundaries"))


def sorted_bins(call: Call) -> Tensor | None:
    """Return the same for searchsorted(boundaries, x)."""
    return _bins(call, call.floating(call.argument(1, "input")), call.args[0])


def _bins(call: Call, x: object, boundaries: object) -> Tensor | None:
    if not isinstance(x, Tensor) or not isinstance(boundaries, Tensor) or boundaries.ndim != 1 or len(boundaries) < 1:
        return None
    edges = boundaries.detach().to(call.dtype)
    span = (edges[-1] - edges[0]).clamp(min=1e-6)
    if len(edges) == 1:
        return moved(call.exact.to(call.dtype), torch.sigmoid(x - edges[0]))
    middle = call.exact.clamp(1, len(edges) - 1)
    width = (edges[middle] - edges[middle - 1]).clamp(min=float(1e-3 * span / len(edges)))
    return moved(call.exact.to(call.dtype), x / width)


def entries(call: Call) -> object:
    """Return table[index] along its first axis, for one tensor of indices that has a stand-in."""
    table, index = call.args[0], call.given[1] if len(call.given) > 1 else None
    if isinstance(index, tuple) and len(index) == 1:
        index = index[0]
    shadow = call.shadow(index)
    if shadow is None or not isinstance(index, Tensor) or index.dtype == torch.bool:
        return AS_IT_IS
    return _looked_up(call, call.floating(table), index, shadow)


def embedded(call: Call) -> Tensor | None:
    """Return embedding(index, table)."""
    index, table = call.given[0], call.argument(1, "weight")
    shadow = call.shadow(index)
    return None if shadow is None else _looked_up(call, table, index, shadow)


def selected(call: Call) -> object:
    """Return index_select(table, dim, index)."""
    dim, index = call.argument(1, "dim"), call.given[2] if len(call.given) > 2 else call.kwargs.get("index")
    shadow = call.shadow(index)
    if shadow is None or dim != 0 or not isinstance(index, Tensor):
        return AS_IT_IS
    return _looked_up(call, call.floating(call.args[0]), index, shadow)


def _looked_up(call: Call, table: Tensor, index: Tensor, shadow: Shadow) -> Tensor:
    """Return the entries, and their gradient in the index: half the difference of the entries on either side."""
    exact = table[index]
    members = shadow.members
    if members is not None and members.ndim == index.ndim + 1 and members.shape[-1] == len(table):
        return moved(exact, torch.tensordot(members, table.detach(), dims=1))
    after, before = (index + 1).clamp(max=len(table) - 1), (index - 1).clamp(min=0)
    slope = 0.5 * (table[after] - table[before]).detach()
    return moved(exact, shadow.value.view(*index.shape, *[1] * (exact.ndim - index.ndim)) * slope)


LOOKING_UP: dict[str, Surrogate] = {
    "bucketize": bins,
    "searchsorted": sorted_bins,
    "__getitem__": entries,
    "embedding": embedded,
    "index_select": selected,
}
"""Surrogates by the operation's name."""
