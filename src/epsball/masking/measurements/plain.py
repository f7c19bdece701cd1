"""How many examples a plain PGD leaves standing that are known to be broken: the gap that masking is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from epsball.attacks import Attack, Query, losses
from epsball.attacks.engine.query import SearchEnded
from epsball.attacks.parts import starts
from epsball.attacks.parts import step_size as rules
from epsball.attacks.parts.objective import RowObjective, untargeted
from epsball.attacks.parts.pgd_loop import ascend
from epsball.ball import Ball
from epsball.errors import NoGradientError
from epsball.masking.finders import kind_of
from epsball.masking.trial import Trial
from epsball.randomness import Keys
from epsball.statistics import Interval, clopper_pearson

STEPS, RESTARTS, BRIEF = 100, 5, 10
"""Of the plain attack, and the steps of the brief one that spares it the easy examples."""

NAME = f"pgd-{STEPS} x {RESTARTS}"
"""The plain attack, as accuracies name it."""

SHARE = 0.12
"""Share of the evaluation's passes that may go into it while little is at stake."""

AT_STAKE = 0.05
"""Share of all examples that the brief attack leaves standing from which more may be spent."""

SAMPLED = 16
"""Examples that fell to a search by cross-entropy, at most, with which the plain attack is tried too."""

CHUNK = 8
"""Examples tried together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainRace:
    """What plain PGD leaves standing among the examples that are known to be broken.

    Examples that fell to a search by cross-entropy and the others are tried separately, and each kind stands for
    its share of all examples.

    Parameters
    ----------
    gap
        Estimated accuracy under the plain attack minus accuracy under all attacks.
    interval
        Of the gap; wide where few could be tried.
    tried, standing
        Examples tried to the end, and those of them that stand.
    rows
        The rows that stand under the plain attack.
    """

    gap: float
    interval: Interval
    tried: int
    standing: int
    rows: Int64[Tensor, " m"]


def plain_race(trial: Trial) -> PlainRace:
    """Return the gap between the plain attack and all attacks so far, on as many examples as can be paid."""
    late, early = _late_and_early(trial)
    kinds = [_Kind.of(trial, late, None), _Kind.of(trial, early, SAMPLED)]
    parts = [kind.tried_to_the_end(trial) for kind in kinds]
    return PlainRace(
        gap=sum(part.gap for part in parts),
        interval=Interval(sum(part.interval.low for part in parts), sum(part.interval.high for part in parts)),
        tried=sum(part.tried for part in parts),
        standing=sum(part.standing for part in parts),
        rows=torch.cat([part.rows for part in parts]),
    )


def at_stake(trial: Trial) -> float:
    """Return the share of all examples that are broken, but not by a search by cross-entropy, not even a brief one."""
    kind = _Kind.of(trial, _late_and_early(trial)[0], None)
    return kind.weight * kind.brief


def _late_and_early(trial: Trial) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " n"]]:
    """Return which examples fell to other attacks, and which to a search by cross-entropy."""
    fallen = trial.broken & trial.correct
    early = fallen & torch.tensor([kind_of(by) == "cross-entropy" for by in trial.by])
    return fallen & ~early, early


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kind:
    """Broken examples of one kind, and what a brief PGD leaves of those tried.

    Parameters
    ----------
    weight
        Their share of all examples.
    rows
        Those of the tried that stand under the brief attack.
    briefly
        Number tried.
    count
        Number of the kind.
    """

    weight: float
    rows: Int64[Tensor, " m"]
    briefly: int
    count: int

    @classmethod
    def of(cls, trial: Trial, kind: Bool[Tensor, " n"], most: int | None) -> "_Kind":
        # Some are always tried: what was never tried would count as a gap.
        affordable = max(CHUNK, trial.left(SHARE) // (2 * BRIEF + 1))
        rows = trial.rows(kind, affordable if most is None else min(most, affordable))
        count = int(kind.sum())
        standing = _standing(trial, PlainPGD(steps=BRIEF, restarts=1), rows)
        return cls(weight=count / len(kind), rows=standing, briefly=len(rows), count=count)

    @property
    def brief(self) -> float:
        """Share that stands under the brief attack; all of it where none was tried."""
        return len(self.rows) / self.briefly if self.briefly else float(self.count > 0)

    def tried_to_the_end(self, trial: Trial) -> PlainRace:
        """Try the plain attack on what the brief one left, chunk by chunk, while it can be paid."""
        method, standing, tried, dearest = PlainPGD(), [], 0, RESTARTS * (2 * STEPS + 1)
        for chunk in self.rows.split(CHUNK) if len(self.rows) else ():
            before = trial.spent
            allowed = trial.left(1.0 if trial.suspicious else SHARE) // dearest
            if tried and allowed < len(chunk):
                break
            chunk = chunk[: max(1, allowed)]
            standing.append(_standing(trial, method, chunk))
            tried += len(chunk)
            dearest = max(1, (trial.spent - before) // len(chunk))
        rows = torch.cat([*standing, self.rows[:0]])
        return self._race(rows, tried)

    def _race(self, rows: Tensor, tried: int) -> PlainRace:
        """Return what the shares say: that of the brief attack times that of the plain one on what it left."""
        first = _share(len(self.rows), self.briefly, whole=self.briefly == self.count)
        second = _share(len(rows), tried, whole=tried == len(self.rows))
        share = self.brief * (len(rows) / tried if tried else float(self.brief > 0))
        return PlainRace(
            gap=self.weight * share,
            interval=Interval(self.weight * first.low * second.low, self.weight * first.high * second.high),
            tried=self.briefly - len(self.rows) + tried,
            standing=len(rows),
            rows=rows,
        )


def _share(count: int, tried: int, *, whole: bool) -> Interval:
    """Return the interval of a share; a point where all of them were tried."""
    if tried == 0:
        return Interval(0.0, 0.0 if whole else 1.0)
    return Interval(count / tried, count / tried) if whole else clopper_pearson(count, tried)


def _standing(trial: Trial, method: Attack, rows: Tensor) -> Tensor:
    """Return the rows that a method leaves standing: all of them where the model passes no gradient."""
    if len(rows) == 0:
        return rows
    try:
        return rows[~trial.search(method, rows).broken.cpu()]
    except NoGradientError:
        return rows


@dataclass(frozen=True, kw_only=True)
class PlainPGD(Attack):
    """PGD on the cross-entropy with its restarts side by side; rows whose gradient is zero, which never move, leave.

    Parameters
    ----------
    steps, restarts
        As for `epsball.attacks.PGD`, whose default step size it has.
    """

    name: ClassVar[str] = "plain pgd"

    steps: int = STEPS
    restarts: int = RESTARTS

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        query.begin(0)
        own = [keys[query.index].derive(restart) for restart in range(self.restarts)]
        first = torch.cat([starts.uniform(query.neighbourhood, key, query.index) for key in own])
        owners = torch.arange(len(query.x), device=query.x.device).repeat(self.restarts)
        objective = RowObjective(query, untargeted(losses.cross_entropy), owners)
        sizes = [rules.step_size(rules.DEFAULT, ball, self.steps)] * self.steps
        last, _ = ascend(_of_moving(objective), first, objective.neighbourhood, sizes)
        objective.value(last)


def _of_moving(objective: RowObjective) -> Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Return the objective's loss and gradient, with rows of zero gradient among those that leave."""

    def evaluate(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, gradient, kept = objective.gradient(points)
        kept = torch.arange(len(points), device=points.device) if kept is None else kept
        moving = gradient[kept].flatten(1).any(1)
        if not bool(moving.any()):
            raise SearchEnded
        objective.owners = None if objective.owners is None else objective.owners[moving]
        return value, gradient, kept[moving]

    return evaluate
