"""Fixtures of the commands' tests."""

import dataclasses

import pytest

from epsball.attacks import PGD
from epsball.auditing.effort import EFFORTS
from epsball.cli import main


def trained(folder, *, hidden):
    """Train a network of one hidden layer; return its card."""
    arguments = ["train", "standard", f"mlp,hidden={hidden}", "digits", "--out", str(folder), "--ball", "linf:0.1"]
    assert main([*arguments, "--epochs", "3", "--lr", "0.05", "--batch-size", "64"]) == 0
    return folder / "card.json"


@pytest.fixture(scope="session")
def surrogate(tmp_path_factory):
    """Return the card of a network of another width, trained alike."""
    return trained(tmp_path_factory.mktemp("surrogate"), hidden=48)


@pytest.fixture(scope="session")
def card(tmp_path_factory):
    """Return the card of a small network trained on the digits."""
    return trained(tmp_path_factory.mktemp("trained"), hidden=32)


@pytest.fixture
def short_audits(monkeypatch):
    """Let an audit's default attack be a short one."""
    monkeypatch.setitem(EFFORTS, "quick", dataclasses.replace(EFFORTS["quick"], attack=PGD(steps=40)))
