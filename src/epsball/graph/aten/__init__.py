"""Rules that turn operators of PyTorch's aten library into nodes, one table."""

from epsball.graph.aten import affine, elementwise, joining, normalisation, pooling, reductions, shaping
from epsball.graph.aten.rule import RULES, Call

__all__ = ["RULES", "Call", "affine", "elementwise", "joining", "normalisation", "pooling", "reductions", "shaping"]
