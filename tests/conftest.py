"""Fixtures shared by all tests."""

from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

settings.register_profile("epsball", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("epsball")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of published data and networks beside the checkout, or skip."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "models" / "manifest.json").exists():
        pytest.skip("the folder of published data and networks (../shared) is not beside this checkout")
    return folder


@pytest.fixture
def as_users_run():
    """Run without the type checks that only tests switch on, as a user's program does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
