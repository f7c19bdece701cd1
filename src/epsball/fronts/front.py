"""`front`: one objective trained along one of its options, each network audited."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import nn

from epsball import data as datasets
from epsball.auditing import Audit, Comparison, audit, compare
from epsball.auditing.chain import ATTACK, CERTIFIED, NATURAL
from epsball.auditing.effort import EffortName
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.classifier.normalise import Statistics
from epsball.data import Dataset
from epsball.errors import InputError
from epsball.figures import png
from epsball.files import write_atomically, write_json
from epsball.fronts.point import FrontPoint
from epsball.fronts.result import Front
from epsball.fronts.values import Along, number, with_option, written
from epsball.interruption import carrying
from epsball.recipe import Recipe
from epsball.training import AWP, Certified, Objective, Training, join, resolve, train
from epsball.training.engine.batches import split
from epsball.training.records.artifacts import LAST


def front(
    model: nn.Module | Callable[[int], nn.Module],
    data: object,
    *,
    along: str,
    objective: str,
    ball: Ball,
    folder: str | Path,
    test: object | None = None,
    mean: Statistics | None = None,
    std: Statistics | None = None,
    recipe: Recipe | None = None,
    architecture: str = "",
    warm_epochs: int | None = None,
    scratch: bool = False,
    anew: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    effort: EffortName = "quick",
    attack: str | None = None,
    save_every: int = 250,
) -> Front:
    """Train an objective along one of its options, from the most certified to the most natural end.

    The first network is trained by the recipe. Each further one starts from the weights before it, at the full radius:
    without warm-up, without another initialisation, without the regularisers of a warm-up. Then each is audited:
    natural accuracy, accuracy under attack and certified accuracy. The same call with the same folder goes on after a
    kill; with more seeds or `anew` it adds to what is there.

    Parameters
    ----------
    model
        The network to start from, or a function from a seed to one, so that the seeds differ in their first weights.
    data
        The training data, as for `epsball.train`.
    along
        ``"alpha=0:1:0.2"`` (LOW:HIGH:STEP, exact decimals) or a list, ``"alpha=1,0.5,0"``: an option of the objective.
        Of an option of which the objective does not know the certified end, a list with that end first.
    objective
        The text of the objective, without that option.
    ball
        The perturbation set.
    folder
        Where trainings and audits are kept.
    test
        What the accuracies are measured on; by default the part held out of the training data.
    mean, std, recipe, architecture, save_every
        As for `epsball.train`.
    warm_epochs
        Epochs of each network after the first; by default the recipe's.
    scratch
        Whether each network is trained anew.
    anew
        Values that are also trained anew, beside the warm ones.
    seeds
        Seeds of the trainings; by default the recipe's. From four on something is said about the option.
    effort, attack
        As for `epsball.audit`, which makes no diagnosis here and measures no limit.

    Returns
    -------
    Front

    Raises
    ------
    InputError, ModelError
        If an option breaks a rule: everything is checked before the first step.
    KeyboardInterrupt
        If it is interrupted; its `partial` is the `Front` of the points finished before, None before the first.

    Examples
    --------
    >>> import tempfile, torch, epsball as eb
    >>> x = torch.linspace(0, 1, 60).view(30, 2)
    >>> found = eb.front(
    ...     nn.Linear(2, 2), (x, (x[:, 0] > 0.5).long()), along="alpha=1,0", objective="mtl-ibp,steps=1",
    ...     ball=eb.Ball("linf", 0.01), folder=tempfile.mkdtemp(), recipe=eb.training.Recipe(epochs=1, batch_size=9),
    ...     attack="fgsm",
    ... )
    >>> [(point.value, point.start) for point in found.points]
    [('1', 'scratch'), ('0', 'warm, from 1')]
    """
    check_count("warm_epochs", warm_epochs, unit="epochs", optional=True)
    if join().count > 1:
        raise InputError(f"a front is trained by one process, there are {join().count}; train its points one by one.")
    recipe = recipe or Recipe()
    chosen: tuple[int, ...] = (recipe.seed,) if seeds is None else tuple(dict.fromkeys(seeds))
    if not chosen:
        raise InputError("seeds is empty; give at least one, or leave it out for the recipe's.")
    place = Path(folder)
    if (place / LAST).exists():
        raise InputError(f"{place} holds a training; choose another folder for the front.")
    if test is None and len(chosen) > 1:
        raise InputError(
            f"{len(chosen)} seeds hold out different parts of the training data; give the data that all networks are "
            "measured on: test, or --test."
        )
    along_ = Along.parse(along)
    objectives = {value: resolve(with_option(objective, along_.option, value), ball) for value in along_.values}
    order = along_.ordered(next(iter(objectives.values())))
    again = [] if scratch else [number(text, text) for text in anew]
    for value in again:
        if value not in objectives:
            raise InputError(f"anew is {written(value)}, which is not on the front; its values: {_list(order)}.")
    with carrying(lambda: None):
        dataset = datasets.load(data, split="train")
        measured = None if test is None else datasets.load(test)
    run = _Run(
        model=model,
        data=dataset,
        test=measured,
        objectives=[(value, objectives[value]) for value in order],
        again=[(value, objectives[value]) for value in order if value in again],
        scratch=scratch,
        warm_epochs=warm_epochs or recipe.epochs,
        recipe=recipe,
        seeds=chosen,
        folder=place,
        ball=ball,
        training={"mean": mean, "std": std, "architecture": architecture, "save_every": save_every},
        auditing={"effort": effort, "attack": attack, "diagnosis": False, "limit": False, "seed": recipe.seed},
        labels={"option": along_.option, "objective": objective},
    )
    return run.result()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """A front whose arguments are checked."""

    model: nn.Module | Callable[[int], nn.Module]
    data: Dataset
    test: Dataset | None
    objectives: Sequence[tuple[Fraction, Objective]]
    again: Sequence[tuple[Fraction, Objective]]
    scratch: bool
    warm_epochs: int
    recipe: Recipe
    seeds: Sequence[int]
    folder: Path
    ball: Ball
    training: dict[str, Any]
    auditing: dict[str, Any]
    labels: dict[str, str]

    def result(self) -> Front:
        """Return the front, written to its folder; an interruption carries the points finished before."""
        points: list[FrontPoint] = []
        with carrying(lambda: self._front(points, interrupted=True) if points else None):
            for seed in self.seeds:
                self._add_chain(seed, points)
        return self._front(points, interrupted=False)

    def _add_chain(self, seed: int, points: list[FrontPoint]) -> None:
        """Add the points of a seed: each from the one before, then those trained anew."""
        before: tuple[Path, nn.Module] | None = None
        for value, objective in self.objectives:
            parent = None if self.scratch else before
            result, point = self._point(seed, value, objective, parent)
            points.append(point)
            before = point.card, result.classifier.module
        for value, objective in self.again:
            points.append(self._point(seed, value, objective, None, beside=True)[1])

    def _point(
        self,
        seed: int,
        value: Fraction,
        objective: Objective,
        parent: tuple[Path, nn.Module] | None,
        *,
        beside: bool = False,
    ) -> tuple[Training, FrontPoint]:
        """Train and audit one network; what is finished in its folder is read."""
        name = f"{self.labels['option']}={written(value)}{'-scratch' if beside else ''}"
        place = self.folder / f"seed-{seed}" / name
        recipe = replace(self.recipe, seed=seed)
        lineage = None
        if parent is None:
            module = self._first(seed)
        else:
            card, module = parent[0], copy.deepcopy(parent[1])
            recipe, objective = replace(recipe, warm_up=0.0, epochs=self.warm_epochs), _warm(objective)
            lineage = f"../{card.parent.name}/{card.name}"
        result = train(
            module,
            self.data,
            objective=objective,
            ball=self.ball,
            recipe=recipe,
            folder=place,
            parent=lineage,
            **self.training,
        )
        found = audit(result.classifier, self._examples(recipe), self.ball, folder=place / "audit", **self.auditing)
        return result, _measured(found, written(value), seed, place, beside, parent)

    def _first(self, seed: int) -> nn.Module:
        """Return the network before any training."""
        return copy.deepcopy(self.model) if isinstance(self.model, nn.Module) else self.model(seed)

    def _examples(self, recipe: Recipe) -> Dataset:
        if self.test is not None:
            return self.test
        return self.data.only(split(len(self.data), recipe)[1])

    def _front(self, points: Sequence[FrontPoint], *, interrupted: bool) -> Front:
        examples = self._examples(replace(self.recipe, seed=self.seeds[0]))
        source = f"{len(examples)} examples {'held out' if self.test is None else f'of {examples.name}'}"
        front = Front(
            points=tuple(points),
            ball=str(self.ball),
            examples=source,
            comparison=_compared(points),
            interrupted=interrupted,
            **self.labels,
        )
        if not interrupted:
            write_json(self.folder / "front.json", front.to_json())
            write_atomically(self.folder / "front.csv", front.to_csv().encode())
            write_atomically(self.folder / "front.png", png(front.plot()))
        return front


def _warm(objective: Objective) -> Objective:
    """Return an objective for a network that is trained already: without what belongs to a warm-up."""
    if isinstance(objective, AWP):
        return replace(objective, objective=_warm(objective.objective))
    if isinstance(objective, Certified):
        return replace(objective, initialisation="keep", regulariser=0.0, hold=0.0)
    return objective


def _measured(
    found: Audit, value: str, seed: int, place: Path, beside: bool, parent: tuple[Path, nn.Module] | None
) -> FrontPoint:
    places = found.chain.places
    return FrontPoint(
        value=value,
        seed=seed,
        scratch=beside,
        card=place / LAST,
        parent=None if parent is None else parent[0],
        audit=place / "audit",
        natural=places[NATURAL],
        under_attack=places[ATTACK],
        certified=places.get(CERTIFIED),
        uncertified=found.chain.uncertified,
    )


def _compared(points: Sequence[FrontPoint]) -> Comparison | None:
    """Return the comparison of the networks, by the name of their value; None of fewer than two."""
    groups: dict[str, list[Path]] = {}
    for point in points:
        groups.setdefault(point.name, []).append(point.audit)
    return compare(groups) if len(groups) > 1 else None


def _list(values: Sequence[Fraction]) -> str:
    return ", ".join(map(written, values))
