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

from epsball.certificates.tensors import dot


class _RectifiedRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        # Signs and products throughout: on a CPU comparisons and choices (`torch.where`) take ten to forty times as long.
        below, above = low.clamp(max=0.0), high.clamp(min=0.0)
        width = (above - below).clamp_(min=torch.finfo(low.dtype).tiny)
        chord, support = above / width, (below + above).sign_().clamp_(min=0.0)
        intercept = -below * chord
        negative = rows.clamp(max=0.0)
        values = (rows.clamp(min=0.0) * support.unsqueeze(1)).addcmul_(negative, chord.unsqueeze(1))
        ctx.save_for_backward(negative, below, above, width, chord, support, intercept)
        return values, dot(negative, intercept)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        over_z, of_constant = gradients[0].contiguous(), gradients[1]
        negative, below, above, width, chord, support, intercept = ctx.saved_tensors
        g = of_constant.view(*of_constant.shape, *(1,) * (negative.ndim - 2))
        below_zero = negative.sign().neg_()
        slope = torch.addcmul(support.unsqueeze(1), below_zero, (chord - support).unsqueeze(1))
        of_rows = slope.mul_(over_z).addcmul_(below_zero.mul_(intercept.unsqueeze(1)), g)
        if not (ctx.needs_input_grad[1] or ctx.needs_input_grad[2]):
            return of_rows, None, None
        # Only a chord between ends of both signs depends on them.
        crossing = (below.sign() * above.sign()).neg_()
        of_chord = _over_rows(negative * over_z).mul_(crossing / width)
        of_intercept = _over_rows(negative * g).mul_(crossing)
        rest = 1.0 - chord
        of_low = torch.addcmul(of_chord, chord, of_intercept, value=-1.0).mul_(chord)
        of_high = of_chord.addcmul_(rest, of_intercept).mul_(rest)
        return of_rows, of_low, of_high


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
    return cast("tuple[Tensor, Tensor]", _RectifiedRows.apply(rows.contiguous(), low, high))
