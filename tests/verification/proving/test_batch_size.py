"""The size of a batch: it follows what the batch before took."""

import pytest

from epsball.verification.proving import batch_size
from epsball.verification.proving.batch_size import SECONDS, BatchSize


def test_batches_grow_while_they_are_short_and_shrink_where_they_are_long(monkeypatch):
    clock = iter([0.0, 0.1, 1.0, 1.1, 2.0, 2.0 + 3 * SECONDS, 9.0, 9.1, 10.0, 10.0 + 1.5 * SECONDS])
    monkeypatch.setattr(batch_size.time, "perf_counter", lambda: next(clock))
    size, seen = BatchSize(most=3), []
    for done in (1, 2, 3, 1, 1):
        with size.measured(done):
            pass
        seen.append(size.now)
    assert seen == [2, 3, 1, 2, 2]
    assert size.each == pytest.approx(1.5 * SECONDS)
