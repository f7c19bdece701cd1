"""`Trial`: one evaluation under examination: who stands, who fell to what, and what may still be spent."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from epsball.attacks import Attack, AttackResult
from epsball.attacks.engine.query import Stop
from epsball.attacks.search import Examples, Keep, Options, search
from epsball.ball import Ball
from epsball.classifier import Classifier, Passes
from epsball.errors import NoGradientError
from epsball.randomness import Keys

T = TypeVar("T")

KeepAs = Callable[[str, Int64[Tensor, " n"]], Keep]
"""Returns, for the name of a search and the positions of its examples, what keeps its chunks."""

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
    earlier
        What attacks before it broke (n,), by name.
    """

    natural: Float64[Tensor, " n"]
    broken: Bool[Tensor, " n"]
    by: Sequence[str | None]
    passes: int
    name: str
    earlier: Mapping[str, Bool[Tensor, " n"]] = field(default_factory=dict)

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
    proven
        Whether a certificate says that no witness exists; such examples are not tried.
    batch_size
        Examples searched together, as for `epsball.attack`.
    keep
        What keeps the chunks of its searches, so that an examination that was interrupted goes on; None: nothing.
    broken, by, x_adv, margin
        Whether a witness is known, who found it, and those found here with the margin there.
    accuracy
        Accuracies by name of the attack, each on what those before it left.
    notes
        What the attacks said about the model's gradients.
    elsewhere
        Passes that the classifier itself does not count: those of networks with another last layer, and of chunks
        that were kept.
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
    proven: Bool[Tensor, " n"] | None = None
    batch_size: int | None = None
    keep: KeepAs | None = None
    broken: Bool[Tensor, " n"] = field(init=False)
    by: list[str | None] = field(init=False)
    x_adv: dict[int, Tensor] = field(init=False, default_factory=dict)
    margin: dict[int, float] = field(init=False, default_factory=dict)
    accuracy: dict[str, float] = field(init=False, default_factory=dict)
    notes: dict[str, None] = field(init=False, default_factory=dict)
    elsewhere: Passes = field(init=False, default_factory=Passes)
    _searches: int = field(init=False, default=0)
    _made: dict[Any, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.broken, self.by = self.evaluation.broken.clone(), list(self.evaluation.by)
        self._before = self.classifier.passes.copy()
        keys = Keys.of_examples(self.x, torch.zeros_like(self.y), self.seed)
        self._place = keys.derive("diagnosis").words.argsort().argsort()
        self.accuracy["natural"] = self._share(self.evaluation.natural <= 0)
        for name, broken in self.evaluation.earlier.items():
            self.accuracy[name] = self._share(broken)
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

    @property
    def unbroken(self) -> Bool[Tensor, " n"]:
        """Whether the example is handled correctly and no attack has broken it."""
        return self.correct & ~self.broken

    def standing(self, most: int | None = None) -> Int64[Tensor, " m"]:
        """Return rows that are correct, that no attack has broken, and that no certificate proves."""
        return self.rows(self.unbroken if self.proven is None else self.unbroken & ~self.proven, most)

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
        notes: bool = False,
    ) -> AttackResult:
        """Attack some rows, in the trial's ball or another; what is found in the trial's own counts.

        A method that itself notes what it sees (`notes`) is run again where an examination goes on.

        Raises
        ------
        KeyboardInterrupt
            If the search was interrupted.
        """
        options = Options(method=method, seed=self.seed, stop=stop, budget=budget, batch_size=self.batch_size)
        examples = Examples(
            x=self.x[rows],
            y=self.y[rows],
            index=rows,
            total=len(self.x),
            classes=self.classes,
            natural=self.evaluation.natural[rows],
        )
        result = self.searched(self.classifier, examples, ball or self.ball, options, kept=not notes)
        if ball is None:
            self._count(result, rows, method.name)
        return result

    def searched(
        self, classifier: Classifier, examples: Examples, ball: Ball, options: Options, *, kept: bool = True
    ) -> AttackResult:
        """Return what a search finds, its chunks kept; passes of the trial's classifier that were spared count.

        Raises
        ------
        KeyboardInterrupt
            If the search was interrupted.
        """
        self._searches += 1
        arguments = []
        if kept and self.keep is not None:
            name = f"{self._searches:03d}-{options.method.name.replace(' ', '-')}"
            arguments = [self.keep(name, examples.index)]
        before = classifier.passes.copy()
        result = search(classifier, examples, ball, options, *arguments)
        if result.interrupted:
            raise KeyboardInterrupt
        forwards, backwards = result.ledger.passes
        made = classifier.passes - before
        self.count(forwards - made.forward, backwards - made.backward)
        return result

    def count(self, forwards: int, backwards: int) -> None:
        """Count passes that the trial's classifier does not."""
        self.elsewhere.forward += forwards
        self.elsewhere.backward += backwards

    def run_examined(self) -> None:
        """Run the examined attack by itself, where it is not the evaluation's own; its passes are the caller's wish."""
        name = self.examined_as
        if name in self.accuracy:
            return
        rows = self.rows(self.correct)
        with suppress(NoGradientError):
            fallen = ~self.correct
            fallen[rows] = self.search(self.examined, rows).broken.cpu()
            self.accuracy[name] = self._share(fallen)
        self._before, self.elsewhere = self.classifier.passes.copy(), Passes()

    def attack(self, method: Attack, rows: Int64[Tensor, " m"], *, name: str, budget: int | None = None) -> int:
        """Run an attack that goes into the accuracies by name, on what those before it left; return how many fell."""
        if len(rows) == 0:
            return 0
        before = int(self.broken.sum())
        self.search(method, rows, budget=budget)
        self.accuracy[name] = self._share(self.broken)
        return int(self.broken.sum()) - before

    def _count(self, result: AttackResult, rows: Tensor, name: str) -> None:
        self.notes |= dict.fromkeys(result.notes)
        for at in torch.nonzero(result.broken.cpu() & ~self.broken[rows])[:, 0].tolist():
            row = int(rows[at])
            self.broken[row], self.by[row] = True, result.by[at] or name
            self.x_adv[row], self.margin[row] = result.x_adv[at].cpu(), float(result.margin[at])

    def _share(self, fallen: Bool[Tensor, " n"]) -> float:
        return 1.0 - float(fallen.double().mean())

    @property
    def passes(self) -> Passes:
        """Passes of the diagnosis itself, so far."""
        here = self.classifier.passes - self._before
        return Passes(here.forward + self.elsewhere.forward, here.backward + self.elsewhere.backward)

    @property
    def spent(self) -> int:
        """The same, forwards and backwards together."""
        return self.passes.forward + self.passes.backward

    def left(self, share: float = 1.0) -> int:
        """Return the passes that a measurement may spend: a share of the evaluation's, while there are so many."""
        allowed = ALLOWED_SUSPICIOUS if self.suspicious else ALLOWED
        return max(0, int(min(share * self.evaluation.passes, allowed * self.evaluation.passes - self.spent)))
