"""Noise, and the radius that the share of the top class under it certifies."""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64
from scipy.special import ndtri

from epsball.checks import check_positive
from epsball.errors import InputError
from epsball.names import NoiseName, NormName

Share = Float64[np.ndarray, " n"]

_SLACK = 1e-12
"""Relative error of a radius computed in float64, taken off: that of ``ndtri`` and ``log`` is some 1e-15."""


@runtime_checkable
class Noise(Protocol):
    """Independent noise on every entry of the input, of standard deviation `sigma`."""

    name: ClassVar[NoiseName]
    norms: ClassVar[tuple[NormName, ...]]

    @property
    def sigma(self) -> float:
        """The standard deviation."""
        ...

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float32[np.ndarray, "*shape"]:
        """Return independent draws."""
        ...

    def radius(self, share: Share, norm: NormName, entries: int) -> Share:
        """Return the radius within which a class of at least this share is the top class, rounded down."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Normal noise. A top class of share p > 1/2 holds for ||d||_2 < sigma * Phi^-1(p).

    In linf the radius is that of l2 over the square root of the number of entries: the largest linf ball inside the
    l2 ball, and nothing better than that.

    Parameters
    ----------
    sigma
        Standard deviation, in pixels of the box.

    References
    ----------
    Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019, Theorem 1.

    Examples
    --------
    >>> Gaussian(0.25).radius(np.array([0.4, 0.9]), "l2", 784).round(4).tolist()
    [0.0, 0.3204]
    """

    name: ClassVar[NoiseName] = "gaussian"
    norms: ClassVar[tuple[NormName, ...]] = ("l2", "linf")
    sigma: float

    def __post_init__(self) -> None:
        check_positive("sigma", self.sigma)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float32[np.ndarray, "*shape"]:
        """Return independent draws."""
        return np.float32(self.sigma) * generator.standard_normal(shape, dtype=np.float32)

    def radius(self, share: Share, norm: NormName, entries: int) -> Share:
        """Return the radius, rounded down; 0 where the share is 1/2 or less."""
        radius = self.sigma * ndtri(np.maximum(share, 0.5))
        return _lowered(radius / math.sqrt(entries) if norm == "linf" else radius)


@dataclass(frozen=True)
class Laplace:
    """Laplace noise of scale b = sigma / sqrt(2). A top class of share p > 1/2 holds for ||d||_1 < -b log(2 (1 - p)).

    Parameters
    ----------
    sigma
        Standard deviation, in pixels of the box.

    References
    ----------
    Teng, Lee and Yuan, "l1 adversarial robustness certificates: a randomized smoothing approach", 2020. Yang et al.,
    "Randomized smoothing of all shapes and sizes", ICML 2020.

    Examples
    --------
    >>> Laplace(0.25).radius(np.array([0.4, 0.9]), "l1", 784).round(4).tolist()
    [0.0, 0.2845]
    """

    name: ClassVar[NoiseName] = "laplace"
    norms: ClassVar[tuple[NormName, ...]] = ("l1",)
    sigma: float

    def __post_init__(self) -> None:
        check_positive("sigma", self.sigma)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float32[np.ndarray, "*shape"]:
        """Return independent draws: the difference of two exponential ones."""
        first, second = (generator.standard_exponential(shape, dtype=np.float32) for _ in range(2))
        return np.float32(self.sigma / math.sqrt(2)) * (first - second)

    def radius(self, share: Share, norm: NormName, entries: int) -> Share:
        """Return the radius, rounded down; 0 where the share is 1/2 or less."""
        b = self.sigma / math.sqrt(2)
        with np.errstate(divide="ignore"):  # a share of 1 has every radius
            return _lowered(-b * np.log(2.0 * (1.0 - np.maximum(share, 0.5))))


@dataclass(frozen=True)
class Uniform:
    """Noise uniform on [-w, w], w = sqrt(3) sigma. A top class of share p > 1/2 holds for ||d||_1 < 2 w (p - 1/2).

    Parameters
    ----------
    sigma
        Standard deviation, in pixels of the box.

    References
    ----------
    Yang et al., "Randomized smoothing of all shapes and sizes", ICML 2020. Lee et al., "Tight certificates of
    adversarial robustness for randomly smoothed classifiers", NeurIPS 2019.

    Examples
    --------
    >>> Uniform(0.25).radius(np.array([0.4, 0.9]), "l1", 784).round(4).tolist()
    [0.0, 0.3464]
    """

    name: ClassVar[NoiseName] = "uniform"
    norms: ClassVar[tuple[NormName, ...]] = ("l1",)
    sigma: float

    def __post_init__(self) -> None:
        check_positive("sigma", self.sigma)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float32[np.ndarray, "*shape"]:
        """Return independent draws."""
        w = np.float32(math.sqrt(3) * self.sigma)
        return w * (2 * generator.random(shape, dtype=np.float32) - 1)

    def radius(self, share: Share, norm: NormName, entries: int) -> Share:
        """Return the radius, rounded down; 0 where the share is 1/2 or less."""
        w = math.sqrt(3) * self.sigma
        return _lowered(2.0 * w * (np.maximum(share, 0.5) - 0.5))


NOISES: dict[str, type[Gaussian] | type[Laplace] | type[Uniform]] = {
    kind.name: kind for kind in (Gaussian, Laplace, Uniform)
}
"""The noises by name."""


def check_norm(noise: Noise, norm: str) -> None:
    """Raise InputError unless a noise certifies radii of a norm."""
    if norm not in noise.norms:
        others = "; ".join(f"{kind.name} noise certifies {' and '.join(kind.norms)}" for kind in NOISES.values())
        raise InputError(f"{noise.name} noise certifies no radius in {norm}: {others}.")


def _lowered(radius: Share) -> Share:
    """Return non-negative radii rounded down by more than they can be wrong."""
    return np.maximum(np.nextafter(radius * (1.0 - _SLACK), 0.0), 0.0)
