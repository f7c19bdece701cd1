"""Contexts for calling objectives outside the engine."""

from typing import Any

import torch

from epsball.randomness import Keys
from epsball.training import Context


def context(n: int, step: int = 0, seed: int = 0, **more: Any) -> Context:
    """Return the context of a batch of the first n examples."""
    positions = torch.arange(n)
    keys = Keys.of_positions(positions, seed).derive(step)
    return Context(**{"step": step, "keys": keys, "positions": positions, "total": n, "state": {}, **more})
