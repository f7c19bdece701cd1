"""Bounds through live parameters: what certified training differentiates."""

from epsball.certificates.live.network import LiveNetwork
from epsball.certificates.live.pass_through import CleanPass

__all__ = ["CleanPass", "LiveNetwork"]
