"""Fixtures of the commands' tests."""

import dataclasses

import pytest

from epsball.attacks import PGD
from epsball.auditing.effort import EFFORTS


@pytest.fixture
def short_audits(monkeypatch):
    """Let an audit's default attack be a short one."""
    monkeypatch.setitem(EFFORTS, "quick", dataclasses.replace(EFFORTS["quick"], attack=PGD(steps=40)))
