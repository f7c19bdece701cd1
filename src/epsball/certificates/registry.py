"""The methods by name, in the order of their cost: the one place where a method is entered."""

from collections.abc import Callable

from epsball.certificates.lipschitz import lipschitz, lipschitz_constants
from epsball.certificates.methods import LowerBounds, crown, crown_ibp, interval, optimised
from epsball.errors import UnsupportedOperation, choose
from epsball.graph import Graph

Method = Callable[..., LowerBounds]

METHODS: dict[str, Method] = {
    "interval": interval,
    "lipschitz": lipschitz,
    "crown-ibp": crown_ibp,
    "crown": crown,
    "optimised": optimised,
}

AUTO = "auto"


def methods_of(name: str, graph: Graph, norm: str) -> tuple[str, ...]:
    """Return the methods that a name stands for; ``"auto"`` is the cascade that fits graph and norm.

    Lipschitz constants are part of it for l2 balls, where they can win, and only if the network has one.
    """
    if name in METHODS:
        return (name,)
    choose({AUTO: None, **METHODS}, name, "method")
    return tuple(known for known in METHODS if known != "lipschitz" or (norm == "l2" and _has_constant(graph)))


def _has_constant(graph: Graph) -> bool:
    try:
        lipschitz_constants(graph)
    except UnsupportedOperation:
        return False
    return True
