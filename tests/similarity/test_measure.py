"""How rows are divided into batches, and what is kept in memory."""

import weakref

import pytest
import torch
from torch import nn

from epsball.similarity import cka
from epsball.similarity.hsic import KernelStack
from epsball.similarity.measure import batch_count


@pytest.mark.parametrize(
    ("rows", "batch_size", "expected"), [(100, 100, 1), (100, 40, 3), (11, 4, 2), (7, 4, 1), (4000, None, 8)]
)
def test_batches_of_at_least_four_rows(rows, batch_size, expected):
    assert batch_count(rows, 2, batch_size, 48 * 2**20) == expected


def test_the_kernels_of_a_batch_are_freed_before_those_of_the_next_are_made(monkeypatch):
    made: list[weakref.ref] = []
    before = KernelStack.__init__

    def counted(self: KernelStack, *args, **options) -> None:
        assert sum(stack() is not None for stack in made) < 2
        made.append(weakref.ref(self))
        before(self, *args, **options)

    monkeypatch.setattr(KernelStack, "__init__", counted)
    cka(nn.Linear(6, 3), nn.Linear(6, 4), torch.randn(60, 6), batch_size=10)
    assert len(made) == 12
