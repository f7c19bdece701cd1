"""Rows carried through a ReLU in training: one operation with its derivative by hand, where many would be recorded.

Rows A over y = relu(z), z in [l, u], l' = min(l, 0), u' = max(u, 0), w = u' - l', s = u' / w and t = -l' s, are

    A . y >= (max(A, 0) a + min(A, 0) s) . z + min(A, 0) . t,

a being 1 where u' > -l' and 0 elsewhere. Where the sign of z is known, s is 1 or 0 and t is 0. With c = -l' / w the
chord's derivatives are ds/du' = c / w, ds/dl' = s / w, dt/du' = c^2 and dt/dl' = -s^2.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

_ENTRIES = 2**17
"""Of coefficients taken at once on a CPU: what is made of them on the way stays in a core's cache."""


class _RectifiedRows(torch.autograd.Function):
    """Nothing but the inputs is kept: to make the lines again costs less than to fetch them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(rows, low, high)
        values, constant = torch.empty_like(rows), rows.new_empty(rows.shape[:2])
        for part in _parts(rows):
            chord, support, intercept, _ = (tensor.unsqueeze(1) for tensor in _lines(low[part], high[part]))
            negative = rows[part].clamp(max=0.0)
            torch.mul(rows[part].clamp(min=0.0), support, out=values[part]).addcmul_(negative, chord)
            constant[part] = negative.mul_(intercept).flatten(2).sum(dim=2)
        return values, constant

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        over_z, of_constant = gradients[0].contiguous(), gradients[1]
        rows, low, high = ctx.saved_tensors
        of_rows, of_low, of_high = torch.empty_like(rows), torch.empty_like(low), torch.empty_like(high)
        g = of_constant.view(*of_constant.shape, *(1,) * (rows.ndim - 2))
        for part in _parts(rows):
            chord, support, intercept, steepness = _lines(low[part], high[part])
            negative = rows[part].clamp(max=0.0)
            below_zero = negative.sign().neg_()
            slope = torch.addcmul(support.unsqueeze(1), below_zero, (chord - support).unsqueeze(1), out=of_rows[part])
            slope.mul_(over_z[part]).addcmul_(below_zero.mul_(intercept.unsqueeze(1)), g[part])
            of_chord = _over_rows(negative * over_z[part]).mul_(steepness)
            of_intercept = _over_rows(negative.mul_(g[part])).mul_(steepness.sign_())
            rest = 1.0 - chord
            torch.addcmul(of_chord, chord, of_intercept, value=-1.0, out=of_low[part]).mul_(chord)
            torch.addcmul(of_chord, rest, of_intercept, out=of_high[part]).mul_(rest)
        return of_rows, of_low, of_high


def _lines(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return s, a, t, and 1 / w where the sign of z is open, 0 where it is known.

    By signs and products alone: on a CPU comparisons and choices take ten to forty times as long.
    """
    below, above = low.clamp(max=0.0), high.clamp(min=0.0)
    width = (above - below).clamp_(min=torch.finfo(low.dtype).tiny)
    chord, support = above / width, (below + above).sign_().clamp_(min=0.0)
    steepness = (above.sign_() * below.sign()).neg_().div_(width)
    return chord, support, below.neg_().mul_(chord), steepness


def _parts(rows: Tensor) -> list[slice]:
    """Return slices of the examples."""
    each = max(1, _ENTRIES // max(1, rows[0].numel())) if rows.device.type == "cpu" else len(rows)
    return [slice(start, start + each) for start in range(0, len(rows), each)]


def _over_rows(products: Tensor) -> Tensor:
    """Return the sum over the rows; of one row, the row."""
    return products[:, 0] if products.shape[1] == 1 else products.sum(dim=1)


def rectified_rows(
    rows: Float[Tensor, "n r *shape"], low: Float[Tensor, "n *shape"], high: Float[Tensor, "n *shape"]
) -> tuple[Float[Tensor, "n r *shape"], Float[Tensor, "n r"]]:
    """Return the rows over z and the constant of the bound above, differentiable once in rows, l and u.

    Parameters
    ----------
    rows
        Coefficients A over relu(z).
    low, high
        The ends l <= u of z.
    """
    return cast("tuple[Tensor, Tensor]", _RectifiedRows.apply(rows.contiguous(), low.contiguous(), high.contiguous()))
