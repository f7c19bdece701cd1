"""`Certified`: what every objective of certified training shares."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from epsball.ball import Ball
from epsball.certificates import Domain, Propagation
from epsball.checks import check_weight
from epsball.deployed_state import DeployedState
from epsball.errors import InputError, lookup
from epsball.generator_state import preserved
from epsball.module_state import evaluating
from epsball.recipe import Recipe
from epsball.training.objectives.certified.batch_bounds import BatchBounds, live_network
from epsball.training.objectives.certified.checks import check_ball, check_recipe, check_share_or_end, overflow
from epsball.training.objectives.certified.initialisation import (
    InitialisationName,
    initialise_for_intervals,
    layers,
    trained_weights,
)
from epsball.training.objectives.certified.regularisers import rectifiers, warm_up_regulariser
from epsball.training.objectives.certified.schedule import RampName, between, radius_share
from epsball.training.objectives.inner_search import require_radius, shrunk
from epsball.training.objectives.objective import Context, Losses
from epsball.training.objectives.preparing import Preparing

LARGE = 1e3
"""A worst-case loss above which the bounds of the first step say nothing."""


@dataclass(frozen=True, kw_only=True)
class Certified(Preparing):
    """Minimise kappa * CE(h(x), y) + (1 - kappa) * robust loss, the radius rising over the recipe's `warm_up`.

    The robust loss, a subclass's own, bounds the network through its live parameters. Layers of batch normalisation are
    bounded with mean and variance of the clean batch.

    Parameters
    ----------
    ball
        The perturbation set trained for.
    kappa_start, kappa
        Weight of the natural loss at radius 0 and at the full radius; in between it moves linearly with the warm-up.
    ramp, hold
        How the radius rises, and the share of the warm-up in which it stays 0.
    initialisation
        ``"ibp"`` draws the weights of every layer but the last as Shi et al. do, ``"keep"`` leaves them.
    regulariser, tolerance
        Weight of the regularisers of Shi et al., which falls linearly to 0 over the warm-up, and their tau.
    l1
        Weight of the sum of the absolute weights of linear layers and convolutions.
    clip
        Largest l2 norm of the gradient of a step; 0 is none.
    """

    mend: ClassVar[str] = (
        "Let the radius rise (warm_up=0.3), begin with initialisation=ibp, use batch norm, or lower lr or the radius"
    )

    certified_end: ClassVar[Mapping[str, str]] = {"kappa": "low"}
    """Which end of an option, low or high, is the most certified, where that is known: a front begins there."""

    ball: Ball
    kappa_start: float = 1.0
    kappa: float = 0.5
    ramp: RampName = "linear"
    hold: float = 0.0
    initialisation: InitialisationName = "keep"
    regulariser: float = 0.0
    tolerance: float = 0.5
    l1: float = 0.0
    clip: float = 10.0

    def __post_init__(self) -> None:
        require_radius(self.ball)
        for name in ("kappa_start", "kappa"):
            check_share_or_end(name, getattr(self, name))
        lookup(dict.fromkeys(get_args(RampName)), self.ramp, "ramp")
        lookup(dict.fromkeys(get_args(InitialisationName)), self.initialisation, "initialisation")
        if not 0 <= self.hold < 1:
            raise InputError(f"hold is {self.hold}; it is a share of the warm-up, in [0, 1).")
        for name in ("regulariser", "l1", "clip"):
            check_weight(name, getattr(self, name))
        if not 0 < self.tolerance <= 1:
            raise InputError(f"tolerance is {self.tolerance}; it is a ratio, in (0, 1].")

    def boxes(self, batch: BatchBounds) -> Domain:
        """Return the sets that are bounded, N(x) or less."""
        return batch.domain

    @abstractmethod
    def robust(self, batch: BatchBounds) -> tuple[Float[Tensor, " n"], Propagation]:
        """Return the robust losses of a batch, and the intervals they stand on."""

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the losses of the batch."""
        progress, share = context.share, radius_share(context.share, self.ramp, self.hold)
        live = live_network(module, x, context)
        parts: dict[str, Tensor] = {}
        natural = None
        if live.needs_clean_pass or self.kappa or self.kappa_start:
            clean = live.clean_pass(module, x)
            natural, parameters = context.cross_entropy(clean.logits, y), clean.parameters
            parts["natural"] = natural.detach()
        else:
            parameters = live.parameters()
        batch = BatchBounds(
            live=live,
            parameters=parameters,
            module=module,
            x=x,
            y=y,
            ball=shrunk(self.ball, share),
            context=replace(context, share=share),
            progress=progress,
        )
        robust, bounds = self.robust(batch)
        parts["robust"] = robust.detach()
        kappa = between(self.kappa_start, self.kappa, progress)
        examples = robust if natural is None else kappa * natural + (1.0 - kappa) * robust
        return Losses(examples=examples, parts=parts, weights=self._terms(batch, bounds, progress))

    def _terms(self, batch: BatchBounds, bounds: Propagation, progress: float) -> Tensor | None:
        """Return the terms that are not per example: the regularisers of the warm-up and the l1 norm of the weights."""
        if not self.regulariser and not self.l1:
            return None
        total = bounds.boxes[bounds.graph.output].low.new_zeros(())
        if self.regulariser and progress < 1.0:
            strength = self.regulariser * (1.0 - progress)
            total = total + strength * warm_up_regulariser(bounds, batch.context, self.tolerance)
        if self.l1:
            names = dict.fromkeys(kind.weight for kind in layers(bounds.graph).values())
            total = total + self.l1 * sum(batch.parameters[name].abs().sum() for name in names)
        return total

    def check(
        self,
        module: nn.Module,
        x: Float[Tensor, "n *shape"],
        y: Int64[Tensor, " n"],
        context: Context,
        recipe: Recipe,
    ) -> None:
        """Raise a named error for what cannot be bounded, or an option that would have no effect."""
        check_ball(self.ball, x)
        check_recipe(self.name, {"regulariser": self.regulariser, "hold": self.hold}, recipe)
        live = live_network(module, x, context)
        if self.initialisation == "ibp":
            trained_weights(live)
        if self.regulariser and not rectifiers(live.graph):
            raise InputError(f"regulariser is {self.regulariser}, but the network has no rectifier; leave it out.")
        state = DeployedState(module)
        try:
            with preserved(), evaluating(module):
                self(module, x, y, replace(context, state={}))
        finally:
            state.restore()

    def begin(self, module: nn.Module, x: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"], context: Context) -> None:
        """Set the first weights, and say so if the bounds of the first step overflow or say nothing."""
        live = live_network(module, x, context)
        if self.initialisation == "ibp":
            initialise_for_intervals(live, seed=int(context.keys.derive("initialisation").words[0]))
        state = DeployedState(module)
        try:
            with preserved():
                robust = self(module, x, y, replace(context, state={})).parts["robust"]
                worst = float(robust.nan_to_num(nan=torch.inf).max())
        finally:
            state.restore()
        if worst == torch.inf:
            where = overflow(live, self.ball, x, context)
            raise InputError(f"the bounds of the first step are not finite{where}. {self.mend}.")
        if worst > LARGE:
            warnings.warn(
                f"the worst-case loss of the first step is {worst:.2g}: its bounds say nothing yet. {self.mend}.",
                stacklevel=6,
            )
