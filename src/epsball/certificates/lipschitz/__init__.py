"""Lipschitz constants, global and over one ball, and the certificates that follow from them."""

from epsball.certificates.lipschitz.local import local_constants
from epsball.certificates.lipschitz.method import lipschitz
from epsball.certificates.lipschitz.network_constant import LipschitzConstants, lipschitz_constants
from epsball.certificates.lipschitz.spectral import convolution_bound, spectral_bound

__all__ = [
    "LipschitzConstants",
    "convolution_bound",
    "lipschitz",
    "lipschitz_constants",
    "local_constants",
    "spectral_bound",
]
