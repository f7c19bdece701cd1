"""The plan of a smoothing: how long each example is sampled, and what follows from its votes."""

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import betaincc
from torch import Tensor

from epsball.errors import InputError
from epsball.names import NormName, ShareBound
from epsball.radius import format_radius
from epsball.smoothing.noise import Noise
from epsball.smoothing.rows import Rows
from epsball.smoothing.share import BOUNDS, Counts, Shares
from epsball.smoothing.voting import PAGE, Ballot

MOST_SAMPLES = 1 << 31
"""Samples per example, at most: far below what float64 counts exactly."""

HOPELESS = 0.01
"""Chance of being certified by the samples left, below which a radius is given up."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long each example is sampled, and what follows from its votes.

    Parameters
    ----------
    noise, norm, radii, entries
        What is added, the radii asked about, and the entries of an example.
    bound
        How the share of a class is bounded; by a sequence, sampling stops where every radius is decided: it is
        certified, or the samples left hardly bring its certificate.
    samples, selection
        Samples per example, at most; those by which its class is chosen are beside them.
    alpha
        Of one example.

    Examples
    --------
    >>> from epsball.smoothing.noise import Gaussian
    >>> options = {"entries": 784, "samples": 1000, "selection": 100, "alpha": 0.001}
    >>> plan = Plan(noise=Gaussian(0.25), norm="l2", radii=(Fraction(1),), bound="fixed", **options)
    >>> plan.check_reach()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    epsball.errors.InputError: radius 1 can never be certified with 1000 samples at alpha 0.001: ...
    """

    noise: Noise
    norm: NormName
    radii: tuple[Fraction, ...]
    entries: int
    bound: ShareBound
    samples: int
    selection: int
    alpha: float

    @property
    def stops(self) -> bool:
        """Whether sampling stops where every radius is decided: the bound holds at all numbers of samples at once."""
        return self.bound == "sequence"

    def check_reach(self) -> None:
        """Raise InputError where no votes at all could certify one of the radii, or samples are beyond all reason."""
        if self.samples > MOST_SAMPLES:
            raise InputError(f"samples is {self.samples}; at most {MOST_SAMPLES} are drawn per example.")
        most = self._radius(self.samples, self.samples)
        beyond = [radius for radius in self.radii if Fraction(most) <= radius]
        if not beyond:
            return
        enough = self._enough(beyond[-1])
        mend = "take a larger sigma" if enough is None else f"take samples={enough} or more, or a larger sigma"
        raise InputError(
            f"radius {format_radius(beyond[0])} can never be certified with {self.samples} samples at alpha "
            f"{self.alpha:g}: if all of them agree the radius is {most:.4g} ({self.norm}, {self.noise.name} noise). "
            f"Ask for smaller radii, or {mend}."
        )

    def _share(self, count: Counts, samples: Counts) -> Shares:
        """Return the lower bound on the share of the class that had `count` of the votes."""
        return BOUNDS[self.bound](count, samples, self.alpha)

    def _radius(self, count: int, samples: int) -> float:
        share = self._share(np.array([count]), np.array([samples]))
        return float(self.noise.radius(share, self.norm, self.entries)[0])

    def _enough(self, radius: Fraction) -> int | None:
        """Return the least number of samples that can certify a radius, or None where none can."""
        numbers = range(MOST_SAMPLES + 1)
        enough = bisect_left(numbers, True, lo=self.samples, key=lambda n: Fraction(self._radius(n, n)) > radius)
        return enough if enough in numbers else None

    @cached_property
    def _least_counts(self) -> tuple[int, ...]:
        """Return per radius the least count among all samples that certifies it."""
        counts = range(self.samples + 1)

        def least(radius: Fraction) -> int:
            return bisect_left(counts, True, key=lambda count: Fraction(self._radius(count, self.samples)) > radius)

        return tuple(map(least, self.radii))

    def rows(self, ballot: Ballot, y: Tensor, positions: Tensor) -> Rows:
        """Return what the votes on a group of examples say."""
        n, every = len(y), range(len(y))
        # Pages before the first whole one beyond the selection's samples are the selection's alone.
        offset = -(-self.selection // PAGE) * PAGE
        chosen = ballot.votes([(row, 0, self.selection) for row in every]).argmax(axis=1)
        count, drawn = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        going_on = np.arange(n)
        while len(going_on):
            looks = [self._next_look(int(drawn[row])) for row in going_on]
            votes = ballot.votes(
                [(int(row), offset + int(drawn[row]), offset + look) for row, look in zip(going_on, looks, strict=True)]
            )
            count[going_on] += votes[np.arange(len(going_on)), chosen[going_on]]
            drawn[going_on] = looks
            going_on = going_on[~self._finished(count[going_on], drawn[going_on])]
        share = self._share(count, drawn)
        return Rows(
            index=positions.numpy(),
            label=y.numpy(),
            predicted=chosen,
            count=count,
            samples=drawn,
            share=share,
            radius=self.noise.radius(share, self.norm, self.entries),
        )

    def _next_look(self, drawn: int) -> int:
        """Return the number of samples at which an example is looked at next: an eighth more, in whole pages."""
        if not self.stops:
            return self.samples
        return min(self.samples, drawn + max(PAGE, drawn // 8 // PAGE * PAGE))

    def _finished(self, count: Counts, drawn: Counts) -> Bool[np.ndarray, " n"]:
        """Return which examples need no more samples: they have all, or every radius is certified or given up.

        Of the radii given up about one in a hundred, at most, would have been certified. Giving up proves nothing, nor
        need it: no certificate is wrong because sampling stopped early.
        """
        if not self.stops:
            return drawn >= self.samples
        radius = self.noise.radius(self._share(count, drawn), self.norm, self.entries)
        certified = radius[:, None] > np.array([float(radius) for radius in self.radii])
        hopeless = self._chance(count, drawn) < HOPELESS
        return (certified | hopeless).all(axis=1) | (drawn >= self.samples)

    def _chance(self, count: Counts, drawn: Counts) -> Float64[np.ndarray, "n radii"]:
        """Return the chance that the count after all samples certifies each radius, given k of n so far.

        With the prior Beta(1/2, 1/2) of the share, a = k + 1/2 and b = n - k + 1/2, the count among the m samples left
        is beta-binomial. Its share of m has the mean u = a / (a + b) and the variance u (1 - u) / (s + 1), with
        s + 1 = m (a + b + 1) / (a + b + m), which are those of Beta(s u, s (1 - u)): that stands for it here.
        """
        k, n = count[:, None].astype(np.float64), drawn[:, None].astype(np.float64)
        m = np.maximum(self.samples - n, 2.0)
        a, b = k + 0.5, n - k + 0.5
        u = a / (a + b)
        s = m * (a + b + 1.0) / (a + b + m) - 1.0
        missing = (np.array(self._least_counts) - k) / m
        return np.where(missing > 1.0, 0.0, betaincc(s * u, s * (1.0 - u), np.clip(missing, 0.0, 1.0)))
