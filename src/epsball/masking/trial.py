"""`Trial`: one evaluation under examination: who stands, who fell to what, and what may still be spent."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from epsball.attacks import Attack, AttackResult
from epsball.attacks.engine.query import Stop
from epsball.attacks.search import Examples, Options, search
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import NoGradientError
from epsball.randomness import Keys

T = TypeVar("T")

ALLOWED = 0.45
"""Passes that a diagnosis may spend, as a share of the evaluation's, while nothing is suspicious."""

ALLOWED_SUSPICIOUS = 0.85
"""The same where something is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What an evaluation found: the ensemble's result, or the columns that an audit keeps of it.

    Parameters
    ----------
    natural
        Canonical margins at the examples (n,); NaN where the model fails.
    broken
        Whether a witness is known.
    by
        The attack that found each witness.
    passes
        Forwards and backwards spent, all of them.
    name
        Of the attack.
    """

    natural: Float64[Tensor, " n"]
    broken: Bool[Tensor, " n"]
    by: Sequence[str | None]
    passes: int
    name: str

    @classmethod
    def of(cls, result: AttackResult, name: str) -> "Evaluation":
        """Return what an attack on all examples found."""
        ledger = result.ledger
        rows = ledger.of("natural")
        natural = torch.full((len(result.broken),), torch.nan, dtype=torch.float64)
        natural[ledger.index[rows]] = ledger.margin[rows]
        return cls(
            natural=natural, broken=result.broken.cpu(), by=list(result.by), passes=sum(ledger.passes), name=name
        )


@dataclass(kw_only=True, eq=False)
class Trial:
    """An evaluation under examination, for use inside ``classifier.in_use()``.

    Measurements are functions of a trial; each is made once, by `measured`, and shared by the checks. What attacks
    find in the ball on the way counts: `broken` and `by` are those of all attacks so far.

    Parameters
    ----------
    classifier, x, y, ball, seed
        What is evaluated; x and y on the CPU.
    classes
        Number of classes.
    evaluation
        What it found.
    examined
        The attack whose power is measured: the evaluation's own, or one that the caller asks about.
    fewest
        Correct examples below which nothing is called sound.
    surrogate
        A classifier of the same inputs and classes, for transfer.
    random
        Whether the model draws random numbers.
    batch
        How logits change with the batch, as the classifier's own check says it; None where they do not.
    suspicious
        Whether more may be spent.
    broken, by, x_adv
        Whether a witness is known, who found it, and those found here.
    accuracy
        Accuracies by name of the attack, each on what those before it left.
    elsewhere
        Passes that the classifier itself does not count: those of networks with another last layer.
    """

    classifier: Classifier
    x: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]
    ball: Ball
    seed: int
    classes: int
    evaluation: Evaluation
    examined: Attack
    fewest: int = 50
    surrogate: Classifier | None = None
    random: bool = False
    batch: str | None = None
    suspicious: bool = False
    broken: Bool[Tensor, " n"] = field(init=False)
    by: list[str | None] = field(init=False)
    x_adv: dict[int, Tensor] = field(init=False, default_factory=dict)
    accuracy: dict[str, float] = field(init=False, default_factory=dict)
    elsewhere: int = field(init=False, default=0)
    _made: dict[Any, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.broken, self.by = self.evaluation.broken.clone(), list(self.evaluation.by)
        self._before = self._counted()
        keys = Keys.of_examples(self.x, torch.zeros_like(self.y), self.seed)
        self._place = keys.derive("diagnosis").words.argsort().argsort()
        self.accuracy["natural"] = self._share(self.evaluation.natural <= 0)
        self.accuracy[self.evaluation.name] = self._share(self.broken)

    def measured(self, measure: Callable[["Trial"], T]) -> T:
        """Return a measurement, made at the first call."""
        if measure not in self._made:
            self._made[measure] = measure(self)
        return self._made[measure]

    @property
    def examined_as(self) -> str:
        """The name under which accuracies have the examined attack."""
        return self.examined.name

    @property
    def asked(self) -> bool:
        """Whether the examined attack is one that the caller named."""
        return self.examined_as != self.evaluation.name

    @property
    def correct(self) -> Bool[Tensor, " n"]:
        """Whether the example itself is handled correctly."""
        return self.evaluation.natural > 0

    def rows(self, among: Bool[Tensor, " n"], most: int | None = None) -> Int64[Tensor, " m"]:
        """Return rows, in an order drawn from the examples' own values; at most so many."""
        rows = torch.nonzero(among)[:, 0]
        return rows[self._place[rows].argsort()][:most]

    def standing(self, most: int | None = None) -> Int64[Tensor, " m"]:
        """Return rows that are correct and that no attack has broken."""
        return self.rows(self.correct & ~self.broken, most)

    def keys(self, rows: Int64[Tensor, " m"], *labels: int | str) -> Keys:
        """Return the keys of some rows, which do not depend on how classes are numbered."""
        x = self.x[rows]
        return Keys.of_examples(x, torch.zeros(len(x), dtype=torch.int64), self.seed).derive("diagnosis", *labels)

    def search(
        self,
        method: Attack,
        rows: Int64[Tensor, " m"],
        *,
        ball: Ball | None = None,
        stop: Stop = "first",
        budget: int | None = None,
    ) -> AttackResult:
        """Attack some rows, in the trial's ball or another; what is found in the trial's own counts.

        Raises
        ------
        KeyboardInterrupt
            If the search was interrupted.
        """
        options = Options(method=method, seed=self.seed, stop=stop, budget=budget)
        examples = Examples(
            x=self.x[rows],
            y=self.y[rows],
            index=rows,
            total=len(self.x),
            classes=self.classes,
            natural=self.evaluation.natural[rows],
        )
        result = search(self.classifier, examples, ball or self.ball, options)
        if result.interrupted:
            raise KeyboardInterrupt
        if ball is None:
            self._keep(result, rows, method.name)
        return result

    def run_examined(self) -> None:
        """Run the examined attack by itself, where it is not the evaluation's own; its passes are the caller's wish."""
        if not self.asked:
            return
        name = self.examined_as
        rows = self.rows(self.correct)
        with suppress(NoGradientError):
            fallen = ~self.correct
            fallen[rows] = self.search(self.examined, rows).broken.cpu()
            self.accuracy[name] = self._share(fallen)
        self._before = self._counted()

    def attack(self, method: Attack, rows: Int64[Tensor, " m"], *, name: str, budget: int | None = None) -> int:
        """Run an attack that goes into the accuracies by name, on what those before it left; return how many fell."""
        before = int(self.broken.sum())
        self.search(method, rows, budget=budget)
        self.accuracy[name] = self._share(self.broken)
        return int(self.broken.sum()) - before

    def _keep(self, result: AttackResult, rows: Tensor, name: str) -> None:
        for at in torch.nonzero(result.broken.cpu() & ~self.broken[rows])[:, 0].tolist():
            row = int(rows[at])
            self.broken[row], self.by[row] = True, result.by[at] or name
            self.x_adv[row] = result.x_adv[at].cpu()

    def _share(self, fallen: Bool[Tensor, " n"]) -> float:
        return 1.0 - float(fallen.double().mean())

    def _counted(self) -> int:
        passes = self.classifier.passes
        return passes.forward + passes.backward

    @property
    def spent(self) -> int:
        """Passes of the diagnosis itself, so far."""
        return self._counted() - self._before + self.elsewhere

    def left(self, share: float = 1.0) -> int:
        """Return the passes that a measurement may spend: a share of the evaluation's, while there are so many."""
        allowed = ALLOWED_SUSPICIOUS if self.suspicious else ALLOWED
        return max(0, int(min(share * self.evaluation.passes, allowed * self.evaluation.passes - self.spent)))
