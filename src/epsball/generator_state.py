"""The global random generators of the process, restored after a block or seeded for it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserved(seed: int | None = None) -> Iterator[None]:
    """Restore the generators of torch, CUDA, NumPy and Python after the block.

    Parameters
    ----------
    seed
        If given, all of them are seeded with it at the start of the block, so that the draws of a
        stochastic model follow from the seed alone.
    """
    cuda = torch.cuda.is_initialized()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    cuda_states = torch.cuda.get_rng_state_all() if cuda else []
    try:
        if seed is not None:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda_states)
