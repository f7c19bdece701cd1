"""How a similarity is printed, stored and summarised."""

import csv
import io
import json

import pytest
import torch
from torch import nn

from epsball.errors import InputError
from epsball.similarity import Similarity, cka, shift
from similarity.networks import ResNet, seeded


def made(matrix: torch.Tensor, spread: float = 0.0, names: str = "abcdefghijkl") -> Similarity:
    """Return a similarity with this matrix and replicates around it."""
    a, b = matrix.shape
    replicates = matrix + spread * torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)[:, None, None]
    return Similarity(
        matrix=matrix,
        error=torch.zeros(a, b, dtype=torch.float64),
        layers_a=tuple(names[:a]),
        layers_b=tuple(names[:b]),
        replicates=replicates,
        shifted=None,
        shifted_share=0.01,
        rows=30,
        batches=3,
        kernel="linear",
        estimator="debiased",
    )


@pytest.fixture(scope="module")
def found() -> Similarity:
    x = torch.randn(60, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return cka(seeded(ResNet), seeded(ResNet, seed=1), x, layers="stages", layers_b=["stem", "fc"], batch_size=10)


def test_arrow_has_one_row_per_pair(found):
    table = found.to_arrow().to_pylist()
    assert len(table) == 10
    low, high = found.interval()
    entry = table[2 * 1 + 1]
    assert (entry["layer_a"], entry["layer_b"]) == ("layer1", "fc")
    assert entry["cka"] == float(found.matrix[1, 1])
    assert entry["low"] == float(low[1, 1]) < entry["cka"] < entry["high"] == float(high[1, 1])
    assert entry["shifted"] == float(found.shifted[1, 1])


def test_csv_reads_back_to_the_matrix(found):
    header, *lines = csv.reader(io.StringIO(found.to_csv()))
    assert header == ["layer", *found.layers_b]
    assert [line[0] for line in lines] == list(found.layers_a)
    assert torch.equal(
        torch.tensor([[float(v) for v in line[1:]] for line in lines], dtype=torch.float64), found.matrix
    )


def test_json_is_json(found):
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["layers_b"] == ["stem", "fc"]
    assert document["structure"]["mean"]["value"] == pytest.approx(float(found.matrix.mean()))
    assert "replicates" not in document


def test_the_table_names_rows_method_and_means(found):
    text = str(found)
    for part in ("5 x 2", "60 in 6 batches", "linear, debiased", "mean if 20.0% of rows of a move"):
        assert part in text


def test_structure_by_hand():
    matrix = torch.tensor(
        [
            [1.0, 0.9, 0.1, 0.0, 0.0, 0.0],
            [0.9, 1.0, 0.2, 0.0, 0.0, 0.0],
            [0.1, 0.2, 1.0, 0.9, 0.8, 0.1],
            [0.0, 0.0, 0.9, 1.0, 0.85, 0.1],
            [0.0, 0.0, 0.8, 0.85, 1.0, 0.6],
            [0.0, 0.0, 0.1, 0.1, 0.6, 1.0],
        ],
        dtype=torch.float64,
    )
    summary = made(matrix).structure()
    assert (summary.block.first, summary.block.last, summary.block.length) == ("c", "e", 3)
    assert summary.diagonal.value == 1.0
    assert summary.early.value == pytest.approx(0.9)
    assert summary.late.value == pytest.approx(0.6)
    assert summary.off_diagonal.value == pytest.approx(float(matrix.sum() - 6) / 30)


def test_the_interval_of_a_mean_is_that_of_its_replicates():
    """Three replicates v - s, v, v + s: error sqrt(2/3 * 2 s^2) = 2 s / sqrt 3, t_2(0.975) = 4.30265."""
    mean = made(torch.full((2, 3), 0.5, dtype=torch.float64), spread=0.01).structure().mean
    assert mean.interval.high - 0.5 == pytest.approx(4.302653 * 0.02 / 3**0.5, rel=1e-6)


def test_undefined_layers_are_left_out_of_the_means():
    matrix = torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan]], dtype=torch.float64)
    summary = made(matrix).structure()
    assert summary.mean.value == 1.0
    assert summary.off_diagonal is None
    assert summary.block is None


def test_networks_with_other_layers_have_no_diagonal():
    summary = made(torch.full((2, 3), 0.5, dtype=torch.float64)).structure()
    assert summary.diagonal is summary.off_diagonal is summary.block is None


def test_shift_between_data_sets():
    first = made(torch.full((3, 3), 0.5, dtype=torch.float64), spread=0.01)
    second = made(torch.full((3, 3), 0.3, dtype=torch.float64), spread=0.01)
    moved = shift(first, second)
    assert moved.mean.value == pytest.approx(-0.2)
    assert moved.root_mean_square == pytest.approx(0.2)
    assert moved.mean.value - moved.mean.interval.low == pytest.approx(4.302653 * 0.02 / 3**0.5 * 2**0.5, rel=1e-6)
    assert "mean change" in str(moved)


def test_shift_needs_the_same_layers():
    first = made(torch.full((3, 3), 0.5, dtype=torch.float64))
    with pytest.raises(InputError, match="3 x 3 and 3 x 2 layers"):
        shift(first, made(torch.full((3, 2), 0.5, dtype=torch.float64)))


def test_one_layer_prints():
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    assert "1 x 1" in str(cka(nn.Identity(), nn.Identity(), x))
