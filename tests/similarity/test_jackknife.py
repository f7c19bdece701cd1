"""Errors, and that intervals cover at their stated rate."""

import math

import pytest
import torch
from scipy.stats import binom, t
from torch import Tensor, nn

from epsball.errors import InputError
from epsball.similarity import cka
from epsball.similarity.jackknife import jackknife_error, student_factor

DRAWS, AT_ONCE = 200, 20


def test_the_error_of_a_mean_is_the_textbook_one():
    values = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    replicates = (values.sum() - values) / 8
    torch.testing.assert_close(jackknife_error(replicates), values.std() / 3)


def test_one_group_has_no_error():
    assert jackknife_error(torch.zeros(1, 2, dtype=torch.float64)).isnan().all()
    assert math.isnan(student_factor(1, 0.95))


@pytest.mark.parametrize("groups", [2, 8, 40])
def test_student_factor(groups):
    assert student_factor(groups, 0.9) == pytest.approx(float(t.ppf(0.95, groups - 1)))


def test_confidence_out_of_range():
    with pytest.raises(InputError, match="confidence is 1"):
        student_factor(5, 1.0)


class Pieces(nn.Module):
    """Returns its input cut into `AT_ONCE` equal pieces: independent pairs of features, compared in one call."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(x.chunk(AT_ONCE, dim=1))


def covered(X: Tensor, Y: Tensor, truth: float, **options) -> int:
    """Return how many of the 90% intervals of the `DRAWS` pairs (X_i, Y_i) contain the truth."""
    count = 0
    for x, y in zip(X.chunk(DRAWS // AT_ONCE, dim=1), Y.chunk(DRAWS // AT_ONCE, dim=1), strict=True):
        low, high = cka(Pieces(), Pieces(), x, y, **options).interval(0.9)
        count += int(((low <= truth) & (truth <= high)).diagonal().sum())
    return count


def independent(n: int, p: int) -> tuple[Tensor, Tensor]:
    """Return features without a common part, many more than rows."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n, DRAWS * p, generator=generator), torch.randn(n, DRAWS * p, generator=generator)


def dependent(n: int) -> tuple[Tensor, Tensor]:
    """Return X with three unit coordinates and Y = X + 2 Z."""
    X, Z = independent(n, 3)
    return X, X + 2 * Z


LEAST, MOST = (int(binom.ppf(point, DRAWS, 0.9)) for point in (0.001, 0.999))
"""Between these the count of 200 intervals that cover lies with probability 99.8%, if each does with 90%."""


@pytest.fixture
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut Gram matrices into two blocks: over several batches, blocks change the time only."""
    monkeypatch.setattr("epsball.similarity.measure.GROUPS", 2)


@pytest.mark.usefixtures("as_users_run", "few_blocks")
@pytest.mark.parametrize("batch_size", [8, 16])
def test_independent_features_are_zero_within_the_interval_at_its_rate(batch_size):
    assert LEAST <= covered(*independent(64, 512), 0.0, batch_size=batch_size) <= MOST


@pytest.mark.usefixtures("as_users_run")
def test_the_interval_of_one_batch_covers_zero_at_least_at_its_rate():
    assert covered(*independent(64, 512), 0.0, max_memory=2**30) >= LEAST


@pytest.mark.usefixtures("as_users_run")
def test_dependent_features_are_covered_at_the_rate_by_one_batch():
    """Population CKA of Y = X + 2Z is |Sxy|^2 / (|Sxx| |Syy|) = 3 / (sqrt 3 * 5 sqrt 3) = 1/5."""
    assert LEAST <= covered(*dependent(400), 0.2, max_memory=2**31) <= MOST


@pytest.mark.usefixtures("as_users_run", "few_blocks")
def test_dependent_features_are_covered_at_the_rate_by_batches():
    assert LEAST <= covered(*dependent(400), 0.2, batch_size=50) <= MOST
