"""Cascade adversarial training: adversarial examples of a network defended before, and one embedding."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from epsball.attacks.losses import cross_entropy, unmasked
from epsball.attacks.parts import step_size as rules
from epsball.ball import Ball
from epsball.checks import check_weight
from epsball.errors import InputError
from epsball.training.objectives.inner_search import InnerSearch
from epsball.training.objectives.least_likely_step import towards_least_likely
from epsball.training.objectives.objective import Adversarial, Context, Losses


@dataclass(frozen=True, kw_only=True, eq=False)
class Cascade(Adversarial):
    """Train on clean and adversarial examples of two origins, and keep their embeddings together.

    Loss = (CE(x, y) + weight * CE(x', y)) / (1 + weight) + similarity * ||e(x') - e(x)||_2^2. The
    first half of the x' of a batch are one step of random length towards the least likely class
    of the network in training, the others K steps against `source`, a network defended before;
    clean examples are not replaced. e is the embedding, here the logits; the distance's gradient
    flows through both ("bidirectional"). Joint batch-norm statistics.

    Parameters
    ----------
    ball
        The perturbation set trained for.
    source
        The network defended before: raw pixels to logits, as ``Classifier(...).network``. It is
        run in evaluation mode and never changed.
    steps, step_size
        Of the iterative attack on the source.
    weight
        lambda in the paper, at least 0.
    similarity
        Factor of the distance of one pair, at least 0. The paper's lambda_2 = 1e-4 is a factor of
        the sum over the 64 pairs of a batch, which is 0.0064 of their mean.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> source = eb.Classifier(torch.nn.Linear(4, 2)).network
    >>> eb.training.Cascade(ball=eb.Ball("linf", 0.1), source=source).name
    'cascade'

    References
    ----------
    Na, Ko and Mukhopadhyay, "Cascade adversarial machine learning regularized with a unified
    embedding", ICLR 2018, sections 3 and 4.
    """

    name: ClassVar[str] = "cascade"

    ball: Ball
    source: nn.Module
    steps: int = 10
    step_size: rules.StepSize = rules.DEFAULT
    weight: float = 0.3
    similarity: float = 0.0064

    def __post_init__(self) -> None:
        check_weight("weight", self.weight)
        check_weight("similarity", self.similarity)
        self._iterative()

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return the module's own adversarial points for the first half of the batch, the source's for the rest."""
        self._require_same_place(x)
        own = context.positions < context.total // 2
        halves = []
        if bool(own.any()):
            halves.append(towards_least_likely(module, x[own], self.ball, context.part(own)))
        if not bool(own.all()):
            halves.append(self._transferred(x[~own], y[~own], context.part(~own)))
        return torch.cat(halves)

    def _transferred(self, x: Tensor, y: Tensor, context: Context) -> Tensor:
        return self._iterative()(self.source, lambda logits: cross_entropy(logits, y), x, context)

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the loss of the class's formula at `x_adv`."""
        natural, adversarial = module(torch.cat([x, x_adv])).tensor_split(2)
        clean, attacked = context.cross_entropy(natural, y), context.cross_entropy(adversarial, y)
        distance = unmasked(adversarial - natural, natural).square().sum(1)
        mixed = (clean + self.weight * attacked) / (1.0 + self.weight)
        parts = {"natural": clean.detach(), "adversarial": attacked.detach(), "distance": distance.detach()}
        return Losses(examples=mixed + self.similarity * distance, parts=parts)

    def _require_same_place(self, x: Tensor) -> None:
        where = next(((p.device, p.dtype) for p in self.source.parameters()), (x.device, x.dtype))
        if where != (x.device, x.dtype):
            raise InputError(f"the source is {where[1]} on {where[0]}, the inputs {x.dtype} on {x.device}; move it.")

    def _iterative(self) -> InnerSearch:
        return InnerSearch(ball=self.ball, steps=self.steps, step_size=self.step_size, start="none")
