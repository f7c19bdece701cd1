"""What the optimal risk of a sample says about its distribution: a lower bound, and whether it is an estimate.

The optimal risk of a sample, L*_n, is a minimum over classifiers of a sample mean, so on average it
lies below L* and rises with n; in high dimension it is near 0 long before n is large enough.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64

from epsball.errors import InputError
from epsball.limits.conflicts.problem import Problem
from epsball.limits.flow.bipartite import bipartite, sides
from epsball.limits.flow.flow import Flow
from epsball.randomness import Keys
from epsball.results import Result, arrow_table, jsonable, text_table
from epsball.statistics import Bound, Interval, clopper_pearson

if TYPE_CHECKING:
    import pyarrow

Verdict = Literal["steady", "rising", "too few"]

_SHARE = 0.05
_LEVEL = 0.05
_LEAST_PAIRS = 11


def distribution_bound(value: float, weights: Float[np.ndarray, " n"], confidence: float = 0.95) -> Bound:
    """Return the one-sided bound L* >= L*_n - sqrt(ln(1/delta) sum_i w_i^2 / 2).

    Replacing example i changes L*_n by at most w_i, and E L*_n <= L* (McDiarmid's inequality). It
    holds for independent examples and any data; also for class-weighted samples, given the labels,
    where L* is then that of the distribution with the class priors that the weights add up to. It is
    a statement about one radius; for k radii at once take confidence 1 - delta/k.

    Parameters
    ----------
    value
        L*_n, the optimal risk of the sample with these weights.
    weights
        (n,) nonnegative, of sum 1; 1/n each where all examples count alike.
    confidence
        1 - delta: the chance, at least, that the bound holds.

    Returns
    -------
    Bound
        `value`, the interval closed by the trivial end 1, and scope ``"distribution"``.

    Raises
    ------
    InputError
        If the value, the weights or the confidence are out of range.

    Examples
    --------
    >>> print(distribution_bound(0.2, np.full(1000, 1 / 1000)))
    0.2000 [0.1613, 1.0000]
    """
    if not 0.0 <= value <= 1.0:
        raise InputError(f"the optimal risk is {value}; a risk lies in [0, 1].")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence is {confidence}; it must lie strictly between 0 and 1.")
    _check_weights(weights)
    delta = 1.0 - confidence
    width = math.sqrt(math.log(1.0 / delta) * float((weights**2).sum()) / 2.0)
    return Bound(value=value, interval=Interval(max(0.0, value - width), 1.0), scope="distribution")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SampleCurve(Result):
    """L*_n at n/4, n/2 and n for each radius, and whether it still rises there.

    Parameters
    ----------
    radii
        (radii,)
    sizes
        n // 4, n // 2 and n.
    values
        (3, radii): the mean of L* over the disjoint quarters, over the halves, and that of all.
    pairs
        (radii,) the conflicting mass n L*_n in units of the largest weight: matched pairs, where
        all examples count alike.
    verdicts
        ``"steady"``, ``"rising"`` or ``"too few"`` for each radius; see `sample_curve`.

    Examples
    --------
    >>> from epsball.limits import optimal_risk
    >>> risk = optimal_risk(np.array([[0.0], [1.0], [3.0], [9.0]]), np.array([0, 1, 0, 1]), radii=["1/2"])
    >>> risk.sample_curve().verdicts
    ('too few',)
    """

    radii: Float[np.ndarray, " radii"]
    sizes: tuple[int, int, int]
    values: Float[np.ndarray, "3 radii"]
    pairs: Int64[np.ndarray, " radii"]
    verdicts: tuple[Verdict, ...]

    @property
    def warning(self) -> str | None:
        """At which radii the sample's value does not estimate the distribution's, in words; None: nowhere."""
        parts = []
        rising = [i for i, verdict in enumerate(self.verdicts) if verdict == "rising"]
        if rising:
            i = rising[-1]
            levels = ", ".join(
                f"{value:.4g} at n = {size}" for value, size in zip(self.values[:, i], self.sizes, strict=True)
            )
            parts.append(
                f"the optimal risk still rises with the sample ({levels}, radius {self.radii[i]:.4g}) "
                f"at {_spelled(self.radii[rising])}: there it is no estimate of the distribution's, "
                "only the lower bound holds."
            )
        few = [i for i, verdict in enumerate(self.verdicts) if verdict == "too few"]
        if few:
            parts.append(
                f"fewer than {_LEAST_PAIRS} pairs conflict at {_spelled(self.radii[few])}: "
                "too few to tell, and a value near 0 there says nothing about the distribution."
            )
        return " ".join(part[0].upper() + part[1:] for part in parts) or None

    def __str__(self) -> str:
        header = ["radius", *(f"n = {size}" for size in self.sizes), "pairs", "verdict"]
        columns = zip(self.radii.tolist(), self.values.T.tolist(), self.pairs.tolist(), self.verdicts, strict=True)
        return text_table(header, [[radius, *values, pairs, verdict] for radius, values, pairs, verdict in columns])

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per radius: L* at each size, the conflicting pairs and the verdict."""
        values = {f"n={size}": column for size, column in zip(self.sizes, self.values, strict=True)}
        return arrow_table({"radius": self.radii, **values, "pairs": self.pairs, "verdict": list(self.verdicts)})

    def to_json(self) -> dict[str, Any]:
        """Return the curve made of JSON's types, with the warning."""
        return jsonable(self) | {"warning": self.warning}


def sample_curve(
    risk: Callable[[Int64[np.ndarray, " m"]], Float[np.ndarray, " radii"]],
    full: Float[np.ndarray, " radii"],
    y: Int64[np.ndarray, " n"],
    radii: Float[np.ndarray, " radii"],
    *,
    weights: Float[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> SampleCurve:
    """Return L* at n/4, n/2 and n, and decide where it still rises.

    The sample is dealt, class by class, into four quarters; two make a half. The mean of L* over the
    halves never exceeds L*_n; the relative difference, (L*_n - L*_{n/2}) / L*_n, is the share of the
    conflicts that only the last doubling brought. It is about 1/2 where conflicts are rare chances
    (high dimension: L*_n proportional to n) and tends to 0 where n suffices.

    - ``"rising"``: the exact binomial lower end (level 5%) of that share, over the matched pairs, is
      above 5%. A true share of 5% or less is called rising in at most 5% of cases.
    - ``"too few"``: fewer than 11 pairs. From 11 on, a true share of 1/2 is noticed in over 95% of cases.
    - ``"steady"``: otherwise. The last doubling brought no clear rise, which does not prove closeness.

    The rates are exact where pairs are lost independently; on Gaussian samples with known L* the
    share scattered less.

    Parameters
    ----------
    risk
        L* of the subset with these indices, its weights scaled to sum 1, for every radius.
    full
        L*_n of all examples, for every radius.
    y
        (n,) labels.
    radii
        (radii,) the radii of `risk` and `full`.
    weights
        (n,) nonnegative, of sum 1; None: equal.
    seed
        Decides the quarters.

    Examples
    --------
    Where pairs conflict by chance, the risk of a part is proportional to its size:

    >>> full = np.array([0.4])
    >>> print(sample_curve(lambda part: full * len(part) / 400, full, np.zeros(400, np.int64), np.ones(1)))
    radius  n = 100  n = 200  n = 400  pairs  verdict
    ------  -------  -------  -------  -----  -------
    1.0000   0.1000   0.2000   0.4000    160  rising
    """
    n = len(y)
    if n < 4:
        raise InputError(f"the sample has {n} examples; quarters need at least 4.")
    weights = np.full(n, 1.0 / n) if weights is None else weights
    _check_weights(weights)
    quarters = _deal(y, 4, seed)
    halves = [np.concatenate(quarters[:2]), np.concatenate(quarters[2:])]

    def mean(parts: list[Int64[np.ndarray, " _"]]) -> Float[np.ndarray, " radii"]:
        return np.sum([weights[part].sum() * risk(part) for part in parts], axis=0)

    values = np.stack([mean(quarters), mean(halves), full])
    pairs = np.floor(full / weights.max() + 1e-6).astype(np.int64)
    share = 1.0 - values[1] / np.where(full > 0.0, full, math.inf)
    lost = np.floor(share.clip(0.0, 1.0) * pairs + 1e-6).astype(np.int64)
    verdicts: tuple[Verdict, ...] = tuple(
        _verdict(k, trials) for k, trials in zip(lost.tolist(), pairs.tolist(), strict=True)
    )
    sizes = (n // 4, n // 2, n)
    return SampleCurve(radii=radii, sizes=sizes, values=values, pairs=pairs, verdicts=verdicts)


def _check_weights(weights: Float[np.ndarray, " n"]) -> None:
    """Raise unless the weights are nonnegative and sum to 1."""
    if not (weights >= 0.0).all() or abs(weights.sum() - 1.0) > 1e-9:
        raise InputError(
            f"weights have minimum {weights.min(initial=math.inf)} and sum {weights.sum()}; "
            "they must be nonnegative and sum to 1."
        )


def _verdict(lost: int, pairs: int) -> Verdict:
    """Return the verdict where the halves miss `lost` of the matched pairs."""
    if pairs < _LEAST_PAIRS:
        return "too few"
    low = clopper_pearson(lost, pairs, confidence=1.0 - 2.0 * _LEVEL).low
    return "rising" if low > _SHARE else "steady"


def _deal(y: Int64[np.ndarray, " n"], count: int, seed: int) -> list[Int64[np.ndarray, " _"]]:
    """Return `count` disjoint parts of 0..n-1, drawn at random, with an even share of each class."""
    draws = Keys.of_positions(torch.arange(len(y)), seed).derive("sample curve").uniform((1,))[:, 0]
    # Sorted by class, and at random within it: every count-th example makes one part.
    order = np.lexsort((draws.numpy(), y))
    return [np.sort(order[part::count]) for part in range(count)]


def _spelled(radii: Float[np.ndarray, " k"]) -> str:
    """Return the radii as text, a long list by its first and last."""
    texts = [f"{radius:.4g}" for radius in radii]
    named = ", ".join(texts) if len(texts) <= 4 else f"{texts[0]} to {texts[-1]} ({len(texts)} radii)"
    return f"radius {named}" if len(texts) == 1 else f"radii {named}"


def sample_curve_of(problem: Problem, radii: tuple[Fraction, ...], *, seed: int = 0) -> SampleCurve:
    """Return L* at n/4, n/2 and n over pairs of examples, with its verdict at each radius."""
    data = problem.sample
    copies = 1 if len(data.classes) == 2 else 2
    (graph,) = bipartite(data, [problem.exact])
    position = np.empty(len(data), dtype=np.int64)
    position[data.order] = np.arange(len(data))
    levels = [problem.radii.index(radius) for radius in radii]

    def risk(members: Int64[np.ndarray, " m"]) -> Float[np.ndarray, " radii"]:
        # Examples without capacity send and receive nothing, as if they were absent.
        capacity = np.zeros_like(data.capacity)
        inside = position[members]
        capacity[inside] = data.capacity[inside]
        flow = Flow(graph, *sides(data, capacity))
        mass = float(capacity.sum()) * copies
        return np.array([flow.raise_to(level) / mass for level in levels])

    everyone = np.arange(len(data))
    return sample_curve(
        risk,
        risk(everyone),
        data.to_caller(data.labels),
        np.array([float(radius) for radius in radii]),
        weights=data.to_caller(data.capacity / data.capacity.sum()),
        seed=seed,
    )
