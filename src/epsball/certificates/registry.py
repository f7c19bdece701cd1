"""The methods by name, in the order of their cost: the one place where a method is entered."""

import math
from collections.abc import Callable

from epsball.certificates.lipschitz import lipschitz, lipschitz_constants
from epsball.certificates.methods import LowerBounds, crown, crown_ibp, forward, interval, optimised
from epsball.errors import UnsupportedOperation, lookup
from epsball.graph import Graph
from epsball.graph.kinds import Elementwise, PReLU

Method = Callable[..., LowerBounds]

METHODS: dict[str, Method] = {
    "interval": interval,
    "lipschitz": lipschitz,
    "crown-ibp": crown_ibp,
    "forward": forward,
    "crown": crown,
    "optimised": optimised,
}

AUTO = "auto"


def methods_of(name: str, graph: Graph, norm: str) -> tuple[str, ...]:
    """Return the methods that a name stands for; ``"auto"`` is the cascade that fits graph and norm.

    Lipschitz constants are part of it for l2 balls, where they can win, and only if the network has one. Forward
    bounds are for vectors of which eight times as many entries as there are would still be fewer than those of the
    widest node that bends: there they cost a small part of what backward sweeps do.
    """
    if name in METHODS:
        return (name,)
    lookup({AUTO: None, **METHODS}, name, "method")
    fits = {"lipschitz": norm == "l2" and _has_constant(graph), "forward": _is_narrow(graph)}
    return tuple(known for known in METHODS if fits.get(known, True))


def _is_narrow(graph: Graph) -> bool:
    bent = [math.prod(node.shape) for node in graph.nodes if isinstance(node.kind, Elementwise | PReLU)]
    return len(graph.input.shape) == 1 and 8 * graph.input.shape[0] < max(bent, default=0)


def _has_constant(graph: Graph) -> bool:
    try:
        lipschitz_constants(graph)
    except UnsupportedOperation:
        return False
    return True
