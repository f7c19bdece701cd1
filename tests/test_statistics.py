import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from epsball.errors import InputError
from epsball.statistics import Bound, Interval, clopper_pearson


@given(trials=st.integers(1, 5000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_clopper_pearson_is_scipys_exact_interval(trials: int, share: float, confidence: float) -> None:
    successes = round(share * trials)
    ours = clopper_pearson(successes, trials, confidence)
    theirs = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert ours.low == pytest.approx(theirs.low, rel=1e-9, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("trials", [1, 2, 7, 30])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_coverage_by_enumeration_is_never_below_the_confidence(trials: int, confidence: float) -> None:
    intervals = [clopper_pearson(k, trials, confidence) for k in range(trials + 1)]
    ends = [end for interval in intervals for end in (interval.low, interval.high)]
    # Coverage as a function of p is least just outside the ends of the intervals.
    for p in [0.5, *(math.nextafter(end, 2) for end in ends), *(math.nextafter(end, -1) for end in ends)]:
        if 0 <= p <= 1:
            covered = sum(binom.pmf(k, trials, p) for k in range(trials + 1) if p in intervals[k])
            assert covered >= confidence - 1e-9


@given(trials=st.integers(1, 200), data=st.data())
def test_interval_is_symmetric_and_contains_the_proportion(trials: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, trials))
    interval = clopper_pearson(k, trials)
    mirrored = clopper_pearson(trials - k, trials).complement()
    assert k / trials in interval
    assert (mirrored.low, mirrored.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(InputError, match=f"{successes} successes of {trials} trials"):
        clopper_pearson(successes, trials)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_confidence_must_be_a_probability(confidence: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        clopper_pearson(1, 2, confidence)


@pytest.mark.parametrize("ends", [(0.3, 0.2), (math.nan, 0.5)])
def test_interval_needs_ordered_ends(ends: tuple[float, float]) -> None:
    with pytest.raises(InputError):
        Interval(*ends)


def test_texts_of_interval_and_bound() -> None:
    interval = Interval(0.25, 0.5)
    assert str(interval) == "[0.2500, 0.5000]"
    assert str(Bound(value=0.3)) == "0.3000"
    assert str(Bound(value=0.3, interval=interval)) == "0.3000 [0.2500, 0.5000]"
    assert 0.25 in interval
    assert 0.2 not in interval
