"""`fitting_threads`: one thread for small networks, whose tensors are too small to be shared out."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from epsball.graph import Graph

SMALL = 4096
"""Entries of all nodes together up to which a network is small: waiting for a second thread costs more than it does."""


@contextmanager
def fitting_threads(graph: Graph) -> Iterator[None]:
    """Let PyTorch use one thread inside the block if a network is small; its setting is put back."""
    before = torch.get_num_threads()
    small = sum(math.prod(node.shape) for node in graph.nodes) <= SMALL
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
