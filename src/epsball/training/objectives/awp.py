"""Adversarial weight perturbation, around any objective."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from epsball.checks import check_positive
from epsball.errors import InputError
from epsball.training.objectives.objective import Adversarial, Context, Losses, Objective


@dataclass(frozen=True, kw_only=True)
class AWP(Objective):
    """Minimise an objective's loss at weights w + v, v the ascent direction of that loss, layer by layer.

    v_l = gamma * ||w_l|| * g_l / ||g_l||, g the gradient in w of the mean loss over the global
    batch, at the points x_adv the objective found for w; layers are the parameters of two axes
    and more. The outer gradient is taken at w + v and applied to w. What it costs beyond the
    objective is one forward and one backward.

    Parameters
    ----------
    objective
        The objective wrapped: loss and search apart, as all of `epsball.training` but ``free``.
    gamma
        Size of the perturbation relative to a layer's norm, positive.
    after
        First step of the optimiser with a perturbation.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "8/255")
    >>> awp = eb.training.AWP(objective=eb.training.TRADES(ball=ball, beta=1.0), gamma=0.01)
    >>> eb.training.resolve("awp,objective=trades,gamma=0.01,beta=1", ball) == awp
    True

    References
    ----------
    Wu, Xia and Wang, "Adversarial weight perturbation helps robust generalization", NeurIPS
    2020, eqs. (7) to (10) (one step of weight ascent, as their code).
    """

    name: ClassVar[str] = "awp"

    objective: Adversarial
    gamma: float = 0.005
    after: int = 0

    def __post_init__(self) -> None:
        check_positive("gamma", self.gamma)
        if not isinstance(self.objective, Adversarial):
            raise InputError(
                f"awp cannot wrap {self.objective!r}; give an objective with search(...) and losses(...), such as PGD."
            )

    @property
    def ball(self) -> object:
        """The perturbation set of the objective, or None."""
        return getattr(self.objective, "ball", None)

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the objective's losses at w + v."""
        x_adv = self.objective.search(module, x, y, context)
        if context.step < self.after:
            return self.objective.losses(module, x, x_adv, y, context)
        offsets = self._ascent(module, x, x_adv, y, context)
        return self.objective.losses(Offset(module, offsets), x, x_adv, y, context)

    def _ascent(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> dict[str, Tensor]:
        """Return v by the name of its parameter."""
        layers = {name: p for name, p in module.named_parameters() if p.requires_grad and p.ndim > 1}
        losses = self.objective.losses(_WithoutTrace(module), x, x_adv, y, context)
        local = torch.autograd.grad(losses.examples.sum(), list(layers.values()), allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for g, p in zip(local, layers.values(), strict=True)]
        gradients = context.sum(filled)
        return {
            name: gamma_step(w.detach(), g, self.gamma) for (name, w), g in zip(layers.items(), gradients, strict=True)
        }


def gamma_step(w: Tensor, g: Tensor, gamma: float) -> Tensor:
    """Return gamma * ||w|| * g / ||g||; zero where g is zero."""
    length = g.norm()
    return torch.where(length > 0, gamma * w.norm() / length.clamp_min(torch.finfo(g.dtype).tiny), 0.0) * g


class Offset(nn.Module):
    """A module run at its parameters plus offsets; gradients reach the parameters."""

    def __init__(self, module: nn.Module, offsets: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.module, self.offsets = module, offsets

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits at w + v."""
        parameters = dict(self.module.named_parameters())
        return functional_call(self.module, {name: parameters[name] + v for name, v in self.offsets.items()}, (x,))


class _WithoutTrace(nn.Module):
    """A module run on copies of its buffers, so that running statistics see a batch once."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return functional_call(self.module, {name: b.clone() for name, b in self.module.named_buffers()}, (x,))
