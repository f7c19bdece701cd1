"""Sensitivity: accuracy under one attack as its options change, one at a time."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from epsball import figures, progress, results
from epsball.attacks.attack import attack
from epsball.attacks.gradient.pgd import PGD
from epsball.attacks.parts.attack import NORMS, Attack
from epsball.attacks.parts.starts import StartName
from epsball.attacks.wrappers.step_norm import StepNorm
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.interruption import carrying
from epsball.statistics import Interval, clopper_pearson

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure

STEPS = (1, 2, 5, 10, 20, 50, 100)
FACTORS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STARTS: tuple[StartName, ...] = ("none", "gaussian", "uniform")
RESTARTS = (1, 2, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Accuracy under one attack of the comparison.

    Parameters
    ----------
    option, value
        What was changed, and to what.
    standing, examples
        Number of examples it did not break, and of all examples.
    forwards, backwards
        Passes the attack made.
    """

    option: str
    value: str
    standing: int
    examples: int
    forwards: int
    backwards: int

    @property
    def accuracy(self) -> float:
        """Accuracy under the attack."""
        return self.standing / self.examples

    @property
    def interval(self) -> Interval:
        """Its exact 95% interval."""
        return clopper_pearson(self.standing, self.examples)


@dataclass(frozen=True, kw_only=True, repr=False)
class Sensitivity(results.Result):
    """Accuracies under an attack as its options change, one at a time.

    All settings see the same examples: differences between them are more certain than the intervals,
    which are about new examples, suggest.

    Parameters
    ----------
    base
        The attack from which each setting differs in one option, in words.
    settings
        The settings, by option.
    interrupted
        Whether the comparison was interrupted: the settings finished before, as the exception's `partial`.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> options = {"steps": (1,), "factors": (1.0,), "starts": ("none",), "restarts": (1,)}
    >>> result = eb.sensitivity(classifier, x, y, eb.Ball("linf", 0.4), **options)
    >>> [(setting.option, setting.accuracy) for setting in result.of("steps")]
    [('steps', 0.0)]
    """

    base: str
    settings: tuple[Setting, ...]
    interrupted: bool = False

    def __str__(self) -> str:
        rows = [(s.option, s.value, s.accuracy, str(s.interval), s.forwards, s.backwards) for s in self.settings]
        header = ("option", "value", "accuracy", "95% interval", "forwards", "backwards")
        lines = [f"each setting differs from {self.base} in one option", results.text_table(header, rows)]
        return "\n".join([*lines, *(["interrupted: the settings that follow are missing"] if self.interrupted else [])])

    def of(self, option: str) -> list[Setting]:
        """Return the settings in which an option was changed."""
        return [setting for setting in self.settings if setting.option == option]

    def _columns(self) -> dict[str, list[object]]:
        names = ("option", "value", "accuracy", "standing", "examples", "forwards", "backwards")
        return {name: [getattr(setting, name) for setting in self.settings] for name in names}

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per setting."""
        return results.arrow_table(self._columns())

    def to_json(self) -> dict[str, object]:
        """Return base and settings as JSON's types."""
        columns = self._columns()
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return results.jsonable({"base": self.base, "settings": rows, "interrupted": self.interrupted})

    def plot(self) -> "Figure":
        """Draw accuracy against each option, one panel per option, on one scale."""
        options = list(dict.fromkeys(setting.option for setting in self.settings))
        if not options:
            return figures.nothing_drawn("no setting was finished")
        figure = figures.new_figure(2.6 * len(options) + 0.6, 3.6)
        heading = (
            f"accuracy with 95% intervals, {self.settings[0].examples} examples; one option changed, from {self.base}"
        )
        figure.suptitle(textwrap.fill(heading, 40 * len(options)), fontsize="medium")
        panels = figure.subplots(1, len(options), sharey=True, squeeze=False)[0]
        for axes, option in zip(panels, options, strict=True):
            settings = self.of(option)
            y = [setting.accuracy for setting in settings]
            spread = [
                [a - s.interval.low for a, s in zip(y, settings, strict=True)],
                [s.interval.high - a for a, s in zip(y, settings, strict=True)],
            ]
            axes.errorbar(range(len(y)), y, spread, fmt="o", markersize=5, color=figures.BLUE, capsize=3)
            axes.set_xticks(range(len(y)), [setting.value for setting in settings], fontsize="small")
            axes.set_xlabel(_LABELS.get(option, option))
            axes.margins(x=0.15)
            axes.grid(axis="y", alpha=0.3)
        panels[0].set_ylabel("accuracy under attack")
        panels[0].set_ylim(-0.02, max(0.1, min(1.02, 1.1 * max(s.interval.high for s in self.settings))))
        return figure


_LABELS = {"steps": "steps K", "step size": "step size, in radius / K", "geometry": "norm whose direction is taken"}


def sensitivity(
    classifier: Classifier,
    x: Float[Tensor, "n *shape"] | UInt8[Tensor, "n *shape"],
    y: Int[Tensor, " n"],
    ball: Ball,
    *,
    base: PGD | None = None,
    steps: Sequence[int] = STEPS,
    factors: Sequence[float] = FACTORS,
    starts: Sequence[StartName] = STARTS,
    restarts: Sequence[int] = RESTARTS,
    seed: int = 0,
) -> Sensitivity:
    """Return accuracy under PGD against K, step size, start, restarts and the geometry of its steps.

    Parameters
    ----------
    classifier, x, y, ball
        As for `attack`.
    base
        The attack from which each setting differs in one option (default PGD with 10 steps).
    steps
        Values of K; step sizes follow by the base's rule.
    factors
        Step sizes in units of radius / K.
    starts
        Names of starts.
    restarts
        Numbers of restarts.
    seed
        As for `attack`.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> options = {"steps": (1, 5), "factors": (), "starts": (), "restarts": ()}
    >>> [setting.option for setting in eb.sensitivity(classifier, x, y, eb.Ball("linf", 0.4), **options).settings]
    ['steps', 'steps', 'geometry', 'geometry', 'geometry']
    """
    base = PGD(steps=10) if base is None else base
    wanted = list(_settings(base, ball, steps, factors, starts, restarts))
    words = f"PGD with {base.steps} steps of {base.step_size}, start {base.start}, restarts {base.restarts}"
    settings: list[Setting] = []
    with carrying(lambda: Sensitivity(base=words, settings=tuple(settings), interrupted=True)):
        for number, (option, value, method) in enumerate(wanted, start=1):
            result = attack(classifier, x, y, ball, method=method, seed=seed)
            _, forwards, backwards = result.ledger.summary().get(method.name, (0, 0, 0))
            standing = int((~result.broken).sum())
            counts = {"standing": standing, "examples": len(x), "forwards": forwards, "backwards": backwards}
            settings.append(Setting(option=option, value=value, **counts))
            progress.report("sensitivity", number, len(wanted))
    return Sensitivity(base=words, settings=tuple(settings))


def _settings(
    base: PGD,
    ball: Ball,
    steps: Sequence[int],
    factors: Sequence[float],
    starts: Sequence[StartName],
    restarts: Sequence[int],
) -> Iterator[tuple[str, str, Attack]]:
    """Yield option, value and attack of each setting."""
    for count in steps:
        yield "steps", str(count), replace(base, steps=count)
    for factor in factors:
        yield "step size", f"{factor:g}", replace(base, step_size=f"{factor}*radius/steps")
    for start in starts:
        yield "start", start, replace(base, start=start)
    for count in restarts:
        yield "restarts", str(count), replace(base, restarts=count)
    for norm in NORMS:
        yield "geometry", norm, base if norm == ball.norm else StepNorm(method=base, norm=norm)
