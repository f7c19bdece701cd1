"""Rows are kept at the entries they reach: what is derived does not depend on which of them go together."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch import nn

from epsball.ball import Ball
from epsball.cli import app
from epsball.graph import capture
from epsball_replay import replay
from epsball_replay.__main__ import main
from epsball_replay.step import joined, through
from replay.networks import certificate

pytest.importorskip("flint", reason="the checker needs the extra replay")


class Residual(nn.Module):
    """A convolution, a residual block with pooling, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3 * 3 * 3, 3)

    def forward(self, x):
        h = torch.relu(self.first(x))
        h = torch.relu(h + self.second(h))
        return self.head(nn.functional.max_pool2d(h, 3, stride=2, padding=1).flatten(1))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_bounds_do_not_depend_on_the_blocks(norm, tmp_path, monkeypatch):
    torch.manual_seed(0)
    graph, x = capture(Residual(), (1, 5, 5)), torch.rand(1, 5, 5)
    path, derived = certificate(tmp_path, graph, x, Ball(norm, "1/10")), []
    for rows, dense in ((1, 0.0), (7, 2.0), (10**6, 0.5)):
        monkeypatch.setattr("epsball_replay.derive._ROWS", rows)
        monkeypatch.setattr("epsball_replay.step._DENSE", dense)
        derived.append(replay(path).derived)
    assert derived[0] == pytest.approx(derived[1], abs=1e-11)
    assert derived[0] == pytest.approx(derived[2], abs=1e-11)


def test_rows_through_matrices_and_sums_are_those_of_whole_layers():
    generator = np.random.default_rng(0)
    matrix = csr_array(np.where(generator.random((40, 30)) < 0.1, generator.normal(size=(40, 30)), 0))
    entries = np.sort(generator.permutation(40)[:9])
    a, whole = generator.normal(size=(5, 9)), np.zeros((5, 40))
    whole[:, entries] = a
    columns, product = through(a, entries, matrix)
    expected = whole @ matrix.toarray()
    assert np.allclose(product, expected[:, columns])
    assert not np.delete(expected, columns, axis=1).any()
    other = np.sort(generator.permutation(40)[:12])
    b = generator.normal(size=(5, 12))
    columns, total = joined((entries, a), (other, b))
    whole[:, other] += b
    assert np.allclose(total, whole[:, columns])
    assert not np.delete(whole, columns, axis=1).any()


def test_what_overflows_on_the_way_proves_nothing(tmp_path):
    graph = capture(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)), (4,))
    relus = [node.name for node in graph.nodes if node.name.startswith("elementwise")]
    steep = torch.full((6,), 1e200, dtype=torch.float64)
    huge = dict.fromkeys(relus, (steep, -steep))
    verdict = replay(certificate(tmp_path, graph, torch.rand(4), Ball("linf", "1/10"), slopes=huge, final=huge))
    assert not verdict.accepted
    assert all(bound == -np.inf for bound in verdict.derived.values())


def test_progress_ends_with_all_entries(tmp_path):
    graph, seen = capture(Residual(), (1, 5, 5)), []
    replay(
        certificate(tmp_path, graph, torch.rand(1, 5, 5), Ball("linf", "1/10")),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len({total for _, total in seen}) == 1
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] == sum(np.prod(node.shape) for node in graph.nodes)


def test_the_command_says_now_and_then_how_far_it_is(tmp_path, monkeypatch, capsys):
    path = certificate(tmp_path, capture(Residual(), (1, 5, 5)), torch.rand(1, 5, 5), Ball("linf", "1/10"))
    assert main([str(path)]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("epsball_replay.__main__._PAUSE", -1.0)
    assert main([str(path)]) == 0
    assert "entries bounded" in capsys.readouterr().err


def test_an_interrupted_command_says_what_was_replayed(tmp_path, monkeypatch, capsys):
    path = certificate(tmp_path, capture(Residual(), (1, 5, 5)), torch.rand(1, 5, 5), Ball("linf", "1/10"))
    verdicts = iter([replay(path)])

    def interrupted(*_, **__):
        try:
            return next(verdicts)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("epsball_replay.replay", interrupted)
    assert app.main(["replay", str(path), str(path)]) == 130
    said = capsys.readouterr().err
    assert "1 of 2 certificates were replayed" in said
    assert "accepted (float32)" in said
