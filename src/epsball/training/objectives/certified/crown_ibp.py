"""CROWN-IBP: intervals inside, one backward sweep at the end."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from epsball.certificates import Propagation
from epsball.certificates.methods import interval_rows
from epsball.errors import InputError, lookup
from epsball.recipe import Recipe
from epsball.training.objectives.certified.batch_bounds import BatchBounds
from epsball.training.objectives.certified.certified import Certified
from epsball.training.objectives.certified.checks import check_share_or_end
from epsball.training.objectives.certified.schedule import between
from epsball.training.objectives.objective import Context

FusionName = Literal["none", "loss"]
"""Whether each margin is bounded by a row of its own, or the loss as a whole by one row."""

_LEAST_WIDTH = 1e-6
"""Of an interval whose chord is not a tangent, relative to its end."""


@dataclass(frozen=True, kw_only=True)
class CROWNIBP(Certified):
    """Minimise kappa * CE(h(x), y) + (1 - kappa) * CE(z', y), z'_j = -((1 - beta) m_j + beta n_j).

    m are the margins' bounds by intervals, n those by one backward sweep over the same intervals; both hold, and so
    does their mean. As published, kappa falls from 1 to 0 and beta from 1 to 0 while the radius rises, so that training
    ends as IBP's.

    With ``fusion="loss"`` the sum S = 1 + sum_j exp(z_j - z_y) is bounded as a whole, by a single row: on the interval
    [l_j, u_j] of d_j = z_j - z_y, exp lies below its chord, so that S <= 1 + sum_j t_j + sum_j s_j d_j, and the linear
    part goes back through the network once. The loss is (1 - beta) CE(z', y) by intervals + beta log S. It bounds
    the loss at every point of N(x) from above, as the other form does; neither is always the tighter.

    Parameters
    ----------
    beta_start, beta
        Weight of the backward sweep at radius 0 and at the full radius.
    fusion
        ``"none"`` or ``"loss"``.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "2/255")
    >>> eb.training.resolve("crown-ibp,fusion=loss", ball) == eb.training.CROWNIBP(ball=ball, fusion="loss")
    True

    References
    ----------
    Zhang et al., "Towards stable and efficient training of verifiably robust neural networks" (ICLR 2020), eqs. (8)
    and (9); Xu et al., "Automatic perturbation analysis for scalable certified robustness and beyond" (NeurIPS 2020),
    section 3.3, for the fusion.
    """

    name: ClassVar[str] = "crown-ibp"

    kappa: float = 0.0
    beta_start: float = 1.0
    beta: float = 0.0
    fusion: FusionName = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta_start", "beta"):
            check_share_or_end(name, getattr(self, name))
        lookup(dict.fromkeys(get_args(FusionName)), self.fusion, "fusion")

    def check(
        self,
        module: nn.Module,
        x: Float[Tensor, "n *shape"],
        y: Int64[Tensor, " n"],
        context: Context,
        recipe: Recipe,
    ) -> None:
        """Refuse smoothed labels with the fused loss, which has no logits to smooth over."""
        if self.fusion == "loss" and recipe.label_smoothing:
            raise InputError(
                f"label_smoothing is {recipe.label_smoothing}, but fusion=loss bounds the loss of the label alone. "
                "Leave one of the two out."
            )
        super().check(module, x, y, context, recipe)

    def robust(self, batch: BatchBounds) -> tuple[Tensor, Propagation]:
        """Return the cross-entropy of the worst case."""
        bounds = batch.propagate(batch.domain)
        margins = batch.interval(bounds)
        beta = between(self.beta_start, self.beta, batch.progress)
        if beta == 0.0:
            return batch.loss(margins), bounds
        if self.fusion == "loss":
            return (1.0 - beta) * batch.loss(margins) + beta * fused_loss(batch, bounds, margins), bounds
        return batch.loss((1.0 - beta) * margins + beta * batch.backward(bounds)), bounds


def fused_loss(batch: BatchBounds, bounds: Propagation, margins: Float[Tensor, "n r"]) -> Float[Tensor, " n"]:
    """Return log S, S an upper bound of sum_j exp(z_j - z_y) over the domain by one row (see `CROWNIBP`).

    Parameters
    ----------
    batch, bounds, margins
        The batch, its intervals, and by them the lower bounds of z_y - z_j.
    """
    differences = -batch.live.problem(bounds.domain, batch.y).specification
    low, high = interval_rows(bounds, differences), -margins
    shift = high.detach().amax(dim=1, keepdim=True).clamp(min=0.0)
    at_low, at_high = torch.exp(low - shift), torch.exp(high - shift)
    apart = high - low > _LEAST_WIDTH * (1.0 + high.abs())
    slope = torch.where(apart, (at_high - at_low) / torch.where(apart, high - low, 1.0), at_high)
    intercept = at_high - slope * high
    row = (slope.unsqueeze(2) * differences).sum(dim=1, keepdim=True)
    linear = -batch.backward(bounds, -row)[:, 0]
    return torch.log(torch.exp(-shift[:, 0]) + intercept.sum(dim=1) + linear) + shift[:, 0]
