"""The result of an attack."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from epsball import figures, results
from epsball.attacks.accuracy_curve import AccuracyCurve
from epsball.attacks.engine.ledger import Ledger
from epsball.attacks.gradient_hints import gradient_hints
from epsball.risk import natural_accuracy
from epsball.statistics import clopper_pearson

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AttackResult(results.Result):
    """Witnesses and margins, one entry per example.

    Parameters
    ----------
    x_adv
        The point of lowest verified margin found in the ball; a witness where `broken`.
    broken
        Whether `x_adv` is a witness: in ball and box exactly, and misclassified by the
        canonical pass. A misclassified example is its own witness.
    margin
        z_y - max_{j != y} z_j at `x_adv` by the canonical pass, also where the search ran in
        another precision; NaN where invalid.
    natural
        The same at the examples themselves; NaN where the model gave no verdict there, or was not asked.
    nearest, distance
        The nearest verified adversarial point and its distance from its example, in the ball's
        norm; the example itself and NaN where there is none. Minimum-norm attacks find such points
        also outside the ball; under ``stop="never"`` it need not be `x_adv`.
    by
        The attack that found each example's first witness, a component's name where the method has
        several; None where none was found or the example is its own.
    ledger
        Passes spent, by example, attack and restart.
    invalid
        Why an example was set aside without a witness, by position: the model gave NaN or
        infinite logits.
    interrupted
        Whether the search was interrupted: what was found until then, as the exception's `partial`. Examples not
        reached have no margin and count as correct and standing.
    overruled
        The checks of the classifier that its maker overruled.
    own_files
        The files of the user's own that the attack was loaded from, and their SHA-256.
    notes
        What the attack found out about the model's gradients.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> print(eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method="fgsm"))
    natural accuracy      1.0000 [0.0250, 1.0000] (1 of 1)
    accuracy under attack 0.0000 [0.0000, 0.9750] (0 of 1)
    passes: 112 forward, 16 backward
    """

    x_adv: Float[Tensor, "n *shape"]
    broken: Bool[Tensor, " n"]
    margin: Float64[Tensor, " n"]
    natural: Float64[Tensor, " n"]
    nearest: Float[Tensor, "n *shape"]
    distance: Float64[Tensor, " n"]
    by: Sequence[str | None]
    ledger: Ledger
    invalid: dict[int, str] = field(default_factory=dict)
    interrupted: bool = False
    overruled: tuple[str, ...] = ()
    own_files: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Accuracy under attack: the share of examples not broken (invalid ones count as unbroken)."""
        return float((~self.broken).double().mean())

    @property
    def natural_accuracy(self) -> float:
        """Accuracy at the examples themselves (invalid ones count as correct)."""
        return natural_accuracy(self.natural > 0, self.natural.isnan()).value

    @property
    def curve(self) -> AccuracyCurve:
        """Accuracy against radius; beyond the ball it holds for minimum-norm attacks under ``stop="never"`` only."""
        return AccuracyCurve.of(self.distance)

    def __str__(self) -> str:
        forwards, backwards = self.ledger.passes
        natural = natural_accuracy(self.natural > 0, self.natural.isnan())
        lines = [
            f"natural accuracy      {natural} ({round(natural.value * len(self.natural))} of {len(self.natural)})",
            _share("accuracy under attack", ~self.broken),
            f"passes: {forwards} forward, {backwards} backward",
        ]
        lines += gradient_hints(self.ledger, torch.nonzero(~self.broken)[:, 0])
        lines += self.notes
        unsearched = self._unsearched()
        if unsearched:
            lines.append(
                f"{unsearched} standing examples were not searched: the attack had nothing to try on them, their "
                "budget did not allow a call, or it was interrupted"
            )
        if self.invalid:
            lines.append(f"invalid: {len(self.invalid)} (non-finite logits)")
        if self.interrupted:
            lines.append("interrupted: examples not searched to the end count as standing")
        if self.overruled:
            lines.append(f"checks overruled: {', '.join(self.overruled)}")
        lines += [f"own code: {name}, SHA-256 {digest}" for name, digest in self.own_files.items()]
        return "\n".join(lines)

    def _unsearched(self) -> int:
        """Return the number of unbroken, valid examples on which the method never worked."""
        worked_on = set(self.ledger.index[self.ledger.searching()].tolist())
        unbroken = torch.nonzero(~self.broken)[:, 0].tolist()
        return len(set(unbroken) - worked_on - set(self.invalid))

    def to_json(self) -> dict[str, object]:
        """Return everything but the points as JSON's types."""
        document = {
            "natural_accuracy": self.natural_accuracy,
            "accuracy": self.accuracy,
            "broken": self.broken,
            "margin": self.margin,
            "distance": self.distance,
            "by": list(self.by),
            "invalid": self.invalid,
            "interrupted": self.interrupted,
            "passes": dict(zip(("forward", "backward"), self.ledger.passes, strict=True)),
            **({"notes": self.notes} if self.notes else {}),
            **({"overruled": self.overruled} if self.overruled else {}),
            **({"own_files": self.own_files} if self.own_files else {}),
        }
        return results.jsonable(document)

    def to_arrow(self) -> "pyarrow.Table":
        """Return broken, margin, distance and finder, one row per example."""
        columns = {"broken": self.broken, "margin": self.margin, "distance": self.distance, "by": list(self.by)}
        return results.arrow_table(columns)

    def plot(self) -> "Figure":
        """Draw the share of examples whose margin, at the worst point found, is at least a threshold."""
        known, n = self.margin[~self.margin.isnan()], len(self.margin)
        if not len(known):
            return figures.nothing_drawn("no example has a margin")
        figure = figures.new_figure()
        axes = figure.subplots()
        figures.draw_survival(
            axes, known, n, color=figures.BLUE, linewidth=1.8, label="margin at the worst point found"
        )
        unbroken = int((~self.broken).sum())
        interval = clopper_pearson(unbroken, n)
        spread = [[self.accuracy - interval.low], [interval.high - self.accuracy]]
        point = {"fmt": "o", "color": figures.BLACK, "markersize": 5, "capsize": 4}
        label = f"accuracy under attack: {unbroken} of {n}, 95% interval"
        axes.errorbar([0.0], [self.accuracy], spread, label=label, **point)
        figures.draw_zero(axes)
        axes.set(xlabel="margin left by the attack", ylabel=f"share of all {n} examples at or above")
        axes.set_ylim(-0.02, 1.02)
        axes.legend(frameon=False, fontsize=figures.SMALL)
        return figure


def _share(name: str, flags: Tensor) -> str:
    count, n = int(flags.sum()), len(flags)
    return f"{name} {count / n:.4f} {clopper_pearson(count, n)} ({count} of {n})"
