"""Block Gram matrices against whole ones."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from epsball.similarity import gram
from epsball.similarity.gram import BlockGram, columns, group_bounds, linear_gram, variation


def whole(block: BlockGram) -> Tensor:
    """Return the full symmetric matrix of a block matrix."""
    n = block.slabs[0].shape[1]
    full, start = torch.zeros(n, n, dtype=torch.float64), 0
    for slab in block.slabs:
        full[start : start + len(slab), start:] = slab
        full[start:, start : start + len(slab)] = slab.T
        start += len(slab)
    return full


@given(rows=st.integers(1, 40), groups=st.integers(1, 12))
def test_groups_are_nearly_equal_and_cover_the_rows(rows, groups):
    bounds = torch.tensor(group_bounds(rows, groups))
    sizes = bounds.diff()
    assert bounds[0] == 0
    assert bounds[-1] == rows
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("shape", [(9, 5), (9, 3, 4, 4), (9, 2, 3000), (9, 1, 1, 5000)])
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "channels_last"])
def test_the_columns_are_all_features_once(shape, layout):
    features = torch.randn(shape, dtype=torch.float64)
    if layout == "transposed":
        features = features.transpose(0, 1).contiguous().transpose(0, 1)
    if layout == "channels_last" and features.ndim == 4:
        features = features.to(memory_format=torch.channels_last)
    parts = list(columns(features))
    assert max(part.shape[1] for part in parts) <= gram.COLUMNS
    assert sum(part.shape[1] for part in parts) == features[0].numel()
    expected = features.flatten(1).sort(dim=1).values
    torch.testing.assert_close(torch.cat(parts, 1).sort(dim=1).values, expected, rtol=0, atol=0)


@pytest.mark.parametrize("groups", [1, 3, 10])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_gram_is_that_of_centred_features(groups, dtype):
    features = torch.randn(23, 7, 11, 60, generator=torch.Generator().manual_seed(0)).to(dtype)
    X = features.double().flatten(1)
    X = X - X.mean(0)
    found = whole(linear_gram(features, group_bounds(23, groups), 0.5))
    torch.testing.assert_close(found, 0.25 * X @ X.T, rtol=1e-5, atol=1e-3 if dtype != torch.float64 else 1e-9)


def test_an_offset_of_a_hundred_costs_no_digits():
    """In float32 x + 100 keeps about 17 bits of x; beyond that rounding the Gram must not change."""
    X = torch.randn(30, 500, generator=torch.Generator().manual_seed(0)) + 100
    exact = X.double() - X.double().mean(0)
    found = whole(linear_gram(X, group_bounds(30, 10), 1.0))
    assert (found - exact @ exact.T).abs().max() < 1e-3


def test_squared_distances_and_pairs():
    X = torch.randn(17, 3, dtype=torch.float64)
    block = linear_gram(X, group_bounds(17, 4), 1.0).squared_distances()
    expected = torch.cdist(X, X).square()
    torch.testing.assert_close(whole(block), expected, rtol=1e-9, atol=1e-9)
    above = expected[tuple(torch.triu_indices(17, 17, offset=1))]
    torch.testing.assert_close(torch.cat([p.flatten() for p in block.pairs()]).sort().values, above.sort().values)
    assert (block.diagonal() == 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_variation_tells_constants_from_features(dtype):
    constant = torch.full((8, 5000), 0.1).to(dtype)
    assert variation(constant).undefined == "its features are constant"
    varying = constant.clone()
    varying[3, 4999] = 0.4
    assert variation(varying).peak > 0.1
    assert variation(varying).undefined is None


def test_a_constant_that_was_rounded_differently_does_not_vary():
    values = torch.full((6, 10), 100.0)
    values[2] = torch.nextafter(values[2], torch.tensor(200.0))
    assert "rounding" in variation(values).undefined


def test_a_feature_that_only_rounding_moves_does_not_hide_those_that_vary_more():
    values = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    values[:, 0] = 100.0
    values[::2, 0] = torch.nextafter(values[0, 0], torch.tensor(200.0))
    assert variation(values).undefined is None
    assert variation(values).remark is None


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6])
def test_the_gram_of_features_with_an_offset_is_that_of_what_they_store(scale, offset):
    X = (torch.randn(30, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + offset) * scale
    X = X.to(torch.float32)
    rest = X.double() - X.double().mean(0)
    rest = (rest - rest.mean(0)) / scale
    found = whole(linear_gram(X, group_bounds(30, 10), 2.0 ** round(math.log2(1 / scale))))
    ratio = (2.0 ** round(math.log2(1 / scale)) * scale) ** 2
    torch.testing.assert_close(found / ratio, rest @ rest.T, rtol=1e-5, atol=1e-4)
