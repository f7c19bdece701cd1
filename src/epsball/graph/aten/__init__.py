"""Rules that turn operators of PyTorch's aten library into nodes, one table."""

from epsball.graph.aten import (
    affine,
    choosing,
    elementwise,
    joining,
    normalisation,
    pooling,
    reductions,
    shaping,
    writing,
)
from epsball.graph.aten.rule import RULES, Call

__all__ = [
    "RULES",
    "Call",
    "affine",
    "choosing",
    "elementwise",
    "joining",
    "normalisation",
    "pooling",
    "reductions",
    "shaping",
    "writing",
]
