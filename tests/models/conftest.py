"""Small models, files of weights and payloads that tell whether they ran."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn


class Payload:
    """An object whose unpickling calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


class Trap:
    """Payloads that leave a file behind if anything of them runs."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel
        self.code = f"open({str(sentinel)!r}, 'w').close()"
        self.system = Payload(os.system, f"touch {sentinel}")
        self.exec = Payload(exec, self.code)
        self.eval = Payload(eval, self.code)
        self.payload = Payload

    @property
    def sprung(self) -> bool:
        return self.sentinel.exists()


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path / "it-ran")


@pytest.fixture
def net() -> nn.Sequential:
    """Return a small module with parameters and buffers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)).eval()
