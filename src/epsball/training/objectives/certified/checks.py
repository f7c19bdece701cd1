"""What certified training refuses before its first step."""

import math
import warnings
from collections.abc import Mapping

from torch import Tensor

from epsball.ball import Ball
from epsball.certificates import Domain, LiveNetwork, propagate
from epsball.certificates.arithmetic import PLAIN
from epsball.errors import InputError
from epsball.recipe import Recipe
from epsball.training.objectives.inner_search import shrunk
from epsball.training.objectives.objective import Context


def check_share_or_end(name: str, value: float) -> None:
    """Raise InputError unless `value` is a weight in [0, 1]."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} is {value!r}; it is a weight in [0, 1].")


def check_ball(ball: Ball, x: Tensor) -> None:
    """Raise InputError if N(x) of every x is the whole box, so that one class would have to win everywhere."""
    if ball.low is None or ball.high is None:
        return
    side, size = ball.high - ball.low, x[0].numel()
    reach = {"linf": side, "l2": side * math.sqrt(size), "l1": side * size}[ball.norm]
    if float(ball.radius) >= reach:
        raise InputError(
            f"the radius of {ball} is not smaller than the box [{ball.low:g}, {ball.high:g}] of {size} numbers is wide "
            f"({reach:g} in {ball.norm}): every N(x) is the whole box, and only a constant classifier can be "
            "certified. Radii are in pixel units of [0, 1]: give 8/255, not 8."
        )


def check_recipe(name: str, rising: Mapping[str, float], recipe: Recipe) -> None:
    """Raise InputError for options that exclude each other; warn of an average over weights of smaller radii.

    Parameters
    ----------
    name
        Of the objective.
    rising
        Those of its options, with their values, that act only while the radius rises.
    recipe
        Of the training.
    """
    if recipe.compile:
        raise InputError(f"'{name}' runs the network as a graph, which torch.compile does not see: leave compile out.")
    for option, value in rising.items():
        if value and not recipe.warm_up:
            raise InputError(
                f"{option} is {value}, but warm_up is 0: it acts only while the radius rises. Give warm_up, the share "
                "of the steps over which it does, such as 0.3."
            )
    if 0 < recipe.swa < recipe.warm_up:
        warnings.warn(
            f"swa begins at {recipe.swa} of the run, while the radius rises until {recipe.warm_up}: the mean holds "
            f"weights that were trained for smaller radii. Give swa={recipe.warm_up} or more.",
            stacklevel=5,
        )


def overflow(live: LiveNetwork, ball: Ball, x: Tensor, context: Context) -> str:
    """Return where intervals of the radius in force first overflow, as the end of a sentence; empty if nowhere."""
    domain = Domain.of(shrunk(ball, context.share), x).to(live.dtype)
    bounds = propagate(live.graph, domain, PLAIN, parameters=live.parameters())
    for node in live.graph.nodes:
        box = bounds.boxes[node.name]
        if not bool((box.low.isfinite() & box.high.isfinite()).all()):
            return f": intervals overflow in {node.origin or node.name}"
    return ""
