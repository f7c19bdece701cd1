"""What `smooth` returns: per example a radius, and the certified accuracy over the radii."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64

from epsball.errors import InputError
from epsball.radius import format_radius, parse_radius
from epsball.results import Result, arrow_table, jsonable, text_table
from epsball.smoothing.figure import smoothing_figure
from epsball.smoothing.plan import Plan
from epsball.smoothing.rows import Rows
from epsball.statistics import Bound, clopper_pearson

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class RadiusCertified:
    """The certified accuracy of the smoothed classifier at one radius.

    Parameters
    ----------
    radius
        The radius.
    accuracy
        Share of the examples whose class is right and holds within the closed ball, with the 95% interval of the
        source of the data. An example that abstains counts as not certified.
    """

    radius: Fraction
    accuracy: Bound


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Smoothed(Result):
    """Probabilistic certificates of the smoothed classifier, which is not the base classifier.

    Parameters
    ----------
    rows
        The columns per example.
    plan
        The noise, the radii asked about and how they were decided.
    simultaneous
        Whether alpha was divided among the examples, so that all certificates hold together.
    total
        Examples asked about; more than were done where it was interrupted.
    assumption
        On which every certificate stands.
    interrupted
        Whether examples are missing.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier, x = eb.Classifier(torch.nn.Flatten()), torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    >>> found = eb.smooth(classifier, (x, torch.tensor([0, 1])), sigma=0.5, radii=["0.25"], samples=1000)
    >>> found.abstained.tolist(), found.curve[0].accuracy.value
    ([False, True], 0.5)
    """

    rows: Rows
    plan: Plan
    simultaneous: bool
    total: int
    assumption: str
    interrupted: bool = False

    @property
    def radii(self) -> tuple[Fraction, ...]:
        """The radii asked about, ascending."""
        return self.plan.radii

    @property
    def alpha(self) -> float:
        """Probability, at most, that the certificate of an example is wrong."""
        return self.plan.alpha

    @property
    def radius(self) -> Float64[np.ndarray, " n"]:
        """The certified radius per example; 0 where it abstains."""
        return self.rows.radius

    @property
    def abstained(self) -> Bool[np.ndarray, " n"]:
        """Which examples have no certified class at any radius."""
        return self.rows.radius == 0

    @property
    def curve(self) -> tuple[RadiusCertified, ...]:
        """The certified accuracy at each radius."""
        return tuple(self._at(radius) for radius in self.radii)

    def certified_at(self, radius: str | int | float | Fraction) -> Bool[np.ndarray, " n"]:
        """Return which examples have the right class in the whole closed ball of a radius.

        Raises
        ------
        InputError
            If it was not asked about: sampling stopped without deciding it.
        """
        wanted = parse_radius(radius)
        if wanted not in self.radii:
            known = ", ".join(map(format_radius, self.radii))
            raise InputError(f"radius {radius} was not asked about; the radii are {known}.")
        held = np.array([Fraction(float(reached)) > wanted for reached in self.rows.radius], dtype=bool)
        return held & (self.rows.predicted == self.rows.label)

    def _at(self, radius: Fraction) -> RadiusCertified:
        right, n = int(self.certified_at(radius).sum()), len(self.rows)
        return RadiusCertified(radius=radius, accuracy=Bound(value=right / n, interval=clopper_pearson(right, n)))

    def __str__(self) -> str:
        table = [
            [format_radius(at.radius), at.accuracy.value, str(at.accuracy.interval), int(held.sum())]
            for at, held in ((at, self.certified_at(at.radius)) for at in self.curve)
        ]
        samples, n = self.rows.samples, len(self.rows)
        lines = [
            "probabilistic certificates of the smoothed classifier, not of the base classifier:",
            f"{self.plan.noise.name} noise of sigma {self.plan.noise.sigma:g}, {self._norm_in_words}",
            text_table(["radius", "certified accuracy", "95% interval", "certified"], table),
            f"abstained: {int(self.abstained.sum())} of {n}",
            f"samples per example: {samples.mean():,.0f} on average, {int(samples.max()):,} at most",
            f"each certificate is wrong with probability at most {self.alpha:g}; {self._together}",
            f"assumption: {self.assumption}",
        ]
        if self.interrupted:
            lines.append(f"interrupted: {self.total - n} of {self.total} examples are missing")
        return "\n".join(lines)

    @property
    def _norm_in_words(self) -> str:
        return (
            f"linf, by l2 over the square root of {self.plan.entries}" if self.plan.norm == "linf" else self.plan.norm
        )

    @property
    def _together(self) -> str:
        expected = self.alpha * len(self.rows)
        if self.simultaneous:
            return f"all of them hold with probability at least {1.0 - expected:.4g}"
        return f"of {len(self.rows)} at most {expected:.3g} are expected to be wrong"

    def to_json(self) -> dict[str, Any]:
        """Return the curve and the statement made of JSON's types; the examples are in `to_arrow`."""
        return jsonable(
            {
                "about": "the smoothed classifier",
                "probabilistic": True,
                "norm": self.plan.norm,
                "noise": self.plan.noise.name,
                "sigma": self.plan.noise.sigma,
                "alpha": self.alpha,
                "simultaneous": self.simultaneous,
                "expected_wrong": self.alpha * len(self.rows),
                "assumption": self.assumption,
                "examples": len(self.rows),
                "abstained": int(self.abstained.sum()),
                "mean_samples": float(self.rows.samples.mean()),
                "curve": self.curve,
                **({"interrupted": True} if self.interrupted else {}),
            }
        )

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per example."""
        columns = self.rows.columns() | {"abstained": self.abstained}
        return arrow_table(
            {f"smoothed.{name}" if name not in ("index", "label") else name: values for name, values in columns.items()}
            | {"smoothed.assumption": [self.assumption] * len(self.rows)}
        )

    def plot(self) -> "Figure":
        """Draw the certified accuracy over the radius, with the radii asked about marked."""
        right = self.rows.predicted == self.rows.label
        return smoothing_figure(
            np.where(right, self.rows.radius, 0.0),
            np.array([float(at.radius) for at in self.curve]),
            np.array([at.accuracy.value for at in self.curve]),
            norm=self.plan.norm,
            title=f"{self.plan.noise.name} noise, sigma {self.plan.noise.sigma:g}",
        )
