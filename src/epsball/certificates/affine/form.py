"""`Affine`: y = sum_i W_i x_i + w, with the magnitudes of W and its transpose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Affine:
    """An affine function of the node's inputs x_1, ..., x_k.

    Parameters
    ----------
    apply
        The inputs to sum_i W_i x_i + w.
    spread
        The inputs to sum_i abs(W_i) x_i.
    reach
        Like `spread`, where rounding reaches further than the weights do; None where it does not.
    transpose
        Rows a over the output, (m, *shape), to rows a W_i over each input, (m, *shape of input i).
    bias
        w, one that broadcasts to (1, *shape), or None for 0.
    bias_magnitude
        What abs(w) is computed from, where that is more than abs(w).
    terms
        An n such that computing an entry of the output, or one of a W_i, in any order has rounding errors of at
        most gamma_n times the sum of the magnitudes of its terms. 0 where both are exact.
    products
        How many products W_ij x_j an output entry sums, where it is a sum of such and of one w_j; else None.
    pointwise
        Whether each output entry stands on the input entry at its own place (the channel apart from others).
    takes
        Which of the node's inputs the form takes, where others are constants in it; None for all.
    signs
        For each input the sign of all its coefficients, or None where they differ.
    largest
        The largest magnitude among the factors that meet the inputs.
    flush
        What an underflow may be multiplied by before it reaches the output, at least 1.
    inner
        From the inputs' magnitude and that of the output, the largest that a kernel meets on its way, where it is more.
    exact
        Whether the kernel only moves numbers; then W has entries 0 and 1.
    """

    apply: Callable[..., Tensor]
    spread: Callable[..., Tensor]
    transpose: Callable[[Tensor], Sequence[Tensor]]
    reach: Callable[..., Tensor] | None = None
    bias: Tensor | None = None
    bias_magnitude: Tensor | None = None
    terms: int
    products: int | None = None
    pointwise: bool = False
    takes: tuple[int, ...] | None = None
    signs: tuple[int, ...] | None = None
    largest: float = 1.0
    flush: float = 1.0
    inner: Callable[[Tensor, Tensor], Tensor] | None = None
    exact: bool = False

    def magnitude(self, *sizes: Tensor) -> Tensor:
        """Return sum_i abs(W_i) m_i + abs(w), for magnitudes m_i of the inputs."""
        total = (self.reach or self.spread)(*sizes)
        if self.bias is None:
            return total
        return total + (self.bias.abs() if self.bias_magnitude is None else self.bias_magnitude)


def transpose_of(
    function: Callable[..., Tensor], shapes: Sequence[tuple[int, ...]]
) -> Callable[[Tensor], Sequence[Tensor]]:
    """Return the transpose of a linear function of inputs of the given shapes, as its vector-Jacobian product."""

    def transpose(rows: Tensor) -> Sequence[Tensor]:
        zeros = [rows.new_zeros(len(rows), *shape) for shape in shapes]
        return torch.func.vjp(function, *zeros)[1](rows)

    return transpose
