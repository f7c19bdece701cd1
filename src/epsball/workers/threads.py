"""The CPU threads of what computes, for a while."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from epsball.workers.options import Workers


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch use `count` threads inside the block; its setting is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_of(workers: Workers | None) -> AbstractContextManager[None]:
    """Let PyTorch use as many threads as a worker has inside the block; as it does where there are no workers."""
    return nullcontext() if workers is None else threads(workers.threads)
