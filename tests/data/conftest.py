"""Images and labels that the tests of `epsball.data` write in one format or another."""

import numpy as np
import pytest


@pytest.fixture
def images() -> np.ndarray:
    """Return 12 different uint8 images (1, 5, 4)."""
    return np.random.default_rng(0).integers(0, 256, (12, 1, 5, 4), dtype=np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    """Return 12 labels of 3 classes."""
    return np.arange(12, dtype=np.uint8) % 3
