"""Is a count among N examples at least a threshold? Answered while drawing them without replacement, at any time.

The count K of all N examples is unknown; after n of them, in random order, s were counted. The sequence seen has
probability

    P(seq | K) = [K (K-1) ... (K-s+1)] [(N-K) ... (N-K-(n-s)+1)] / [N (N-1) ... (N-n+1)].

Against "K <= k - 1" stands a working prior over the counts from k on, the beta-binomial of 20 pseudo-counts about k / N
cut to them. The ratio of the prior's mean probability of the sequence to P(seq | k - 1) has mean at most 1 at every n
under each K <= k - 1: a next draw is counted with probability (K - s) / (N - n), which grows with K, and so does the
ratio after it. So it ever reaches 1/alpha with probability at most alpha (Ville), whenever one looks and stops.
"K >= k" is rejected likewise. After all N examples the count is known, and no alpha is used. The prior decides how soon
an answer comes, never whether it is right.

References
----------
Waudby-Smith and Ramdas, "Confidence sequences for sampling without replacement", NeurIPS 2020 (the prior-posterior
ratio). Ville, "Etude critique de la notion de collectif" (1939).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import betaln, gammaln, logsumexp

from epsball.checks import check_count, check_share
from epsball.errors import InputError

Side = Literal["at least", "below"]

PSEUDO_COUNTS = 20.0
"""Of the working prior: fewer look far from the threshold first, more near it."""

Counts = Float64[np.ndarray, " counts"]


@dataclass(frozen=True, kw_only=True)
class CountTest:
    """Whether the count of N examples is at least a threshold, by those drawn so far.

    Parameters
    ----------
    total
        Number of examples, N.
    threshold
        The count asked about, k, from 1 to N.
    alpha
        Probability, at most, of ever answering "at least" where the count is below the threshold.
    alpha_below
        Probability, at most, of ever answering "below" where it is not; `alpha` where it is not given.

    Examples
    --------
    >>> test = CountTest(total=1000, threshold=900, alpha=0.05)
    >>> test.answer(96, 96), test.answer(70, 96), test.answer(86, 96)
    ('at least', 'below', None)
    >>> test.answer(899, 1000)
    'below'
    """

    total: int
    threshold: int
    alpha: float = 0.05
    alpha_below: float | None = None

    def __post_init__(self) -> None:
        check_count("total", self.total, unit="examples")
        check_share("alpha", self.alpha)
        if self.alpha_below is not None:
            check_share("alpha_below", self.alpha_below)
        if not 1 <= self.threshold <= self.total:
            raise InputError(f"the threshold is {self.threshold} of {self.total} examples; it lies between 1 and all.")

    def answer(self, counted: int, drawn: int) -> Side | None:
        """Return whether the count is at least the threshold or below it; None where it cannot be said yet.

        Parameters
        ----------
        counted, drawn
            s of n; n may be 0.

        Raises
        ------
        InputError
            If more are counted than drawn, or more drawn than there are.
        """
        if not 0 <= counted <= drawn <= self.total:
            raise InputError(f"{counted} of {drawn} drawn of {self.total} are counted; need 0 <= s <= n <= N.")
        missing = drawn - counted
        if counted >= self.threshold:
            return "at least"
        if missing > self.total - self.threshold:
            return "below"
        if self._evidence(self._above, self.threshold - 1, counted, missing) >= -math.log(self.alpha):
            return "at least"
        if self._evidence(self._below, self.threshold, counted, missing) >= -math.log(self.alpha_below or self.alpha):
            return "below"
        return None

    def _evidence(self, prior: Counts, null: int, counted: int, missing: int) -> float:
        """Return the logarithm of the prior's mean probability of the sequence over its probability under `null`."""
        logs = self._log_probability(np.arange(self.total + 1.0), counted, missing)
        return float(logsumexp(prior + logs) - logs[null]) if np.isfinite(logs[null]) else math.inf

    def _log_probability(self, K: Counts, counted: int, missing: int) -> Counts:
        """Return log P(seq | K) but for the factor that is the same for all K; -infinity where K cannot give it."""
        left, others = K - counted, self.total - K - missing
        possible = (left >= 0) & (others >= 0)
        logs = gammaln(K + 1) - gammaln(np.maximum(left, 0) + 1)
        logs += gammaln(self.total - K + 1) - gammaln(np.maximum(others, 0) + 1)
        return np.where(possible, logs, -np.inf)

    @cached_property
    def _above(self) -> Counts:
        return self._working_prior(np.arange(self.total + 1) >= self.threshold)

    @cached_property
    def _below(self) -> Counts:
        return self._working_prior(np.arange(self.total + 1) < self.threshold)

    def _working_prior(self, kept: np.ndarray) -> Counts:
        """Return the logarithm of the beta-binomial prior about k / N, cut to some counts."""
        K, N = np.arange(self.total + 1.0), float(self.total)
        share = min(max(self.threshold / N, 1 / N), 1 - 0.5 / N)
        a, b = PSEUDO_COUNTS * share, PSEUDO_COUNTS * (1 - share)
        logs = gammaln(N + 1) - gammaln(K + 1) - gammaln(N - K + 1) + betaln(K + a, N - K + b)
        logs = np.where(kept, logs, -np.inf)
        return logs - logsumexp(logs)
