"""The global random generators of the process: their states, restored after a block or seeded for it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    states = generator_states()
    try:
        if seed is not None:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
        yield
    finally:
        restore_generators(states)


def generator_states() -> dict[str, Any]:
    """Return the states of the generators of torch, CUDA, NumPy and Python."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": np.random.get_state(),  # noqa: NPY002
        "python": random.getstate(),
    }


def restore_generators(states: dict[str, Any]) -> None:
    """Put the generators into states that `generator_states` returned; CUDA's only where there is CUDA."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    random.setstate(states["python"])
