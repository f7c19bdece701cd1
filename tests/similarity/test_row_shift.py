"""The shifted similarity against the similarity of features that were really shifted."""

import pytest
import torch
from torch import nn

from epsball.similarity import cka
from epsball.similarity.row_shift import DISTANCE, marked_count
from epsball.similarity.rows import shuffled


@pytest.mark.parametrize("estimator", ["debiased", "plain"])
@pytest.mark.parametrize("scale", [1.0, 1e12])
def test_it_is_the_similarity_after_the_shift(estimator, scale):
    generator = torch.Generator().manual_seed(0)
    X = scale * torch.randn(300, 7, generator=generator)
    Y = X[:, :4] + scale * torch.randn(300, 4, generator=generator)
    moved = shuffled(300)[: marked_count(300)]
    away = torch.zeros(300, 1)
    away[moved] = DISTANCE * (X - X.mean(0)).square().sum(1).mean().sqrt()
    found = cka(nn.Identity(), nn.Identity(), X, Y, estimator=estimator)
    direct = cka(nn.Identity(), nn.Identity(), torch.cat([X, away], 1), Y, estimator=estimator)
    torch.testing.assert_close(found.shifted, direct.matrix, rtol=1e-4, atol=1e-6)
    assert found.shifted_share == 0.01
    assert float(found.shifted) < 0.5 * float(found.matrix)


@pytest.mark.parametrize(("rows", "expected"), [(4, 2), (100, 2), (250, 2), (1000, 10)])
def test_one_row_in_a_hundred_but_at_least_two(rows, expected):
    assert marked_count(rows) == expected


def test_it_is_known_for_the_linear_kernel_only():
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    found = cka(nn.Identity(), nn.Identity(), x, kernel="rbf")
    assert found.shifted is None
    assert "of rows of a move" not in str(found)
