"""Fixtures of the tests of training."""

import importlib

import pytest

from epsball.attacks import PGD
from epsball.training.evaluation import verdicts


@pytest.fixture
def short_evaluations(monkeypatch):
    """Measure each epoch with PGD-1 and draw no curves, where they are not the subject."""
    monkeypatch.setattr(verdicts, "METHOD", PGD(steps=1))
    monkeypatch.setattr(importlib.import_module("epsball.training.train"), "png", lambda figure: b"")
    monkeypatch.setattr(importlib.import_module("epsball.training.result"), "draw", lambda history: None)
