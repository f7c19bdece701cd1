"""`Adaptive`: an attack that finds out by itself what a model's gradients need."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks.adaptive.broken_gradients import follow_up
from epsball.attacks.adaptive.gradient_facts import gradient_facts
from epsball.attacks.composed.ensemble import Ensemble
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack
from epsball.ball import Ball
from epsball.checks import check_counts, check_positive
from epsball.errors import InputError
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Adaptive(Attack):
    """The ensemble where gradients can be trusted, and what replaces them where they cannot, found out first.

    Before anything else the gradients at the examples are compared with the changes of the margin
    (`gradient_facts`). Examples whose gradient is zero, not finite or misleading get `BrokenGradients`: surrogate
    gradients, Square, SPSA and NES, on budgets that follow what they find. The others get `Ensemble`, which meets
    broken gradients by itself only after its own stages: on honest models the two differ in 21 passes per example.
    A model that draws random numbers gets the ensemble on gradients averaged over 20 evaluations.

    Parameters
    ----------
    queries, patience, most
        As for `Ensemble`.
    transfer
        An attack that is tried first, such as ``Transfer(surrogate=classifier)`` with an honest network alike: for
        parts of a model that no surrogate gradient reaches.

    References
    ----------
    Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018. Tramer, Carlini,
    Brendel and Madry, "On adaptive attacks to adversarial example defenses", NeurIPS 2020.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> rounding = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Threshold(0.5, 0.0))
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(eb.Classifier(rounding), x, y, eb.Ball("linf", 0.45), method=eb.attacks.Adaptive()).broken
    tensor([True])
    """

    name: ClassVar[str] = "adaptive"
    tolerance: ClassVar[float | None] = 0.01

    queries: int = 300
    patience: float = 3.0
    most: int = 70
    transfer: Attack | None = None

    def __post_init__(self) -> None:
        check_counts(self, "queries", "most")
        check_positive("patience", self.patience)
        if self.transfer is not None and not isinstance(self.transfer, Attack):
            raise InputError(f"transfer is {self.transfer!r}; give an attack: Transfer(surrogate=classifier).")

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        if self.transfer is not None:
            query.begin_stage(self.transfer.name)
            self.transfer(query, ball, keys=keys.derive(self.transfer.name))
        broken = zero = query.index[:0]
        if not query.stochastic:
            query.begin_stage("gradient check")
            facts = gradient_facts(query, keys.derive("gradient check"))
            broken, zero = query.index[facts.broken], query.index[facts.zero]
            query.catch_up()
            self._follow_up(query, ball, keys, _among(query, broken))
        ensemble = Ensemble(queries=self.queries, patience=self.patience, most=self.most)
        rest = query.of(torch.nonzero(~torch.isin(query.index, zero))[:, 0])
        if len(rest.index):
            suspects = ensemble.search(rest, ball, keys.derive(ensemble.name), check=False)
            query.catch_up()
            suspects.flags[broken] = False
            self._follow_up(query, ball, keys, torch.nonzero(suspects.flags[query.index])[:, 0])

    def _follow_up(self, query: Query, ball: Ball, keys: Keys, rows: Tensor) -> None:
        follow_up(query, ball, keys, rows, queries=self.queries, patience=self.patience, most=self.most)


def _among(query: Query, positions: Tensor) -> Tensor:
    """Return the active examples at some positions of the call."""
    return torch.nonzero(torch.isin(query.index, positions))[:, 0]
