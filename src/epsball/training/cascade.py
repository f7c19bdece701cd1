"""Cascade adversarial training: adversarial examples of a network already defended, and one embedding."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks import starts
from epsball.attacks import steps as rules
from epsball.attacks.losses import cross_entropy
from epsball.ball import Ball
from epsball.errors import InputError
from epsball.training.checks import require_weight
from epsball.training.inner import Search, maximise, shrunk
from epsball.training.objective import Context, Losses


@dataclass(frozen=True, kw_only=True, eq=False)
class Cascade:
    """Train on clean and adversarial examples of two origins, and keep their embeddings together.

    Loss = (CE(x, y) + weight * CE(x', y)) / (1 + weight) + similarity * ||e(x') - e(x)||_2^2. Half
    of the x' come from K steps against `source`, a network defended before, the others from one
    step against the network in training; clean examples are not replaced. e is the embedding,
    here the logits; the distance's gradient flows through both. Joint batch-norm statistics.

    Parameters
    ----------
    ball
        The perturbation set trained for.
    source
        The network already defended: raw pixels to logits, as ``Classifier(...).network``. It is
        run in evaluation mode and never changed.
    steps, step_size
        Of the iterative attack on the source.
    weight, similarity
        lambda and lambda_2 in the paper, at least 0.

    References
    ----------
    Na, Ko and Mukhopadhyay, "Cascade adversarial machine learning regularized with a unified
    embedding", ICLR 2018, sections 3 and 4.
    """

    ball: Ball
    source: nn.Module
    steps: int = 10
    step_size: rules.StepSize = rules.DEFAULT
    weight: float = 0.3
    similarity: float = 1e-4

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_weight("similarity", self.similarity)
        self._iterative()

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return "cascade"

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the mixed cross-entropy + similarity * squared distance of the embeddings."""
        return self.losses(module, x, self.search(module, x, y, context), y, context)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return the source's adversarial points for even positions, the module's own for odd ones."""
        self._require_same_place(x)
        theirs = self._iterative()(self.source, lambda z: cross_entropy(z, y), x, context)
        own = self._one_step(module, x, y, context)
        even = (context.positions % 2 == 0).view(-1, *(1,) * (x.ndim - 1))
        return torch.where(even, theirs, own)

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the loss of the class's formula at `x_adv`."""
        natural, adversarial = module(torch.cat([x, x_adv])).tensor_split(2)
        clean, attacked = context.cross_entropy(natural, y), context.cross_entropy(adversarial, y)
        distance = (adversarial - natural).square().sum(1)
        mixed = (clean + self.weight * attacked) / (1.0 + self.weight)
        parts = {"natural": clean.detach(), "adversarial": attacked.detach(), "distance": distance.detach()}
        return Losses(examples=mixed + self.similarity * distance, parts=parts)

    def _require_same_place(self, x: Tensor) -> None:
        where = next(((p.device, p.dtype) for p in self.source.parameters()), (x.device, x.dtype))
        if where != (x.device, x.dtype):
            raise InputError(f"the source is {where[1]} on {where[0]}, the inputs {x.dtype} on {x.device}; move it.")

    def _iterative(self) -> Search:
        return Search(ball=self.ball, steps=self.steps, step_size=self.step_size, start="none")

    def _one_step(
        self, module: nn.Module, x: Float[Tensor, "n *shape"], y: Tensor, context: Context
    ) -> Float[Tensor, "n *shape"]:
        ball = shrunk(self.ball, context.share)
        return maximise(
            module,
            lambda logits: cross_entropy(logits, y),
            x,
            ball,
            step_sizes=[float(ball.radius)],
            start=starts.centre,
            keys=context.keys,
        )
