"""The methods by name, in the order of their cost: the one place where a method is entered."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.branching.complete import complete
from epsball.certificates.linear.forward import forward_passes
from epsball.certificates.linear.refinement import LowerSlopes, refinement_passes
from epsball.certificates.lipschitz import lipschitz, lipschitz_constants
from epsball.certificates.methods import STEPS, crown, crown_ibp, forward, interval, optimised, wong_kolter
from epsball.certificates.polytope.outer import lp, lp_tight
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import Propagation
from epsball.certificates.semidefinite.method import STEPS as NEWTON_STEPS
from epsball.certificates.semidefinite.method import sdp
from epsball.errors import UnsupportedOperation, lookup
from epsball.graph import Graph
from epsball.graph.kinds import Elementwise, PReLU
from epsball.names import MethodName as MethodName


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """How the checker derives a method's bounds again from the slopes in a certificate file.

    Parameters
    ----------
    flat
        Whether the margins are bounded by intervals: all slopes are 0.
    refined
        Whether nodes before a nonlinear function are bounded by backward rows, not by intervals alone.
    lower
        The lower slopes that these rows are tried with (`slope_choices`).

    Examples
    --------
    >>> import epsball as eb
    >>> eb.certificates.METHODS["crown"].replay
    ReplayPlan(flat=False, refined=True, lower='adaptive')
    """

    flat: bool = False
    refined: bool = False
    lower: LowerSlopes = "adaptive"


def _always(graph: Graph, norm: str) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Method:
    """A bound as it is entered in `METHODS`; called with a `Problem`, it returns `LowerBounds`.

    Parameters
    ----------
    bound
        ``bound(problem, **options)``.
    passes
        Passes that an example costs, given the number of its rows; by default 2 for intervals and 1 per row.
    refinement
        Further passes for intermediate bounds, (n,), given interval bounds; None where there are none.
    fits
        ``fits(graph, norm)``: whether the method is part of the cascade ``"auto"``; by default it always is.
    replay
        How the checker replays its certificates; with None no files are written.
    searches
        Whether it searches until a budget is spent: each example for itself, with what is left of its own.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.certificates.METHODS["crown-ibp"].passes(9)
    11
    """

    bound: Callable[..., LowerBounds]
    passes: Callable[[int], int] = lambda rows: 2 + rows
    refinement: Callable[[Propagation], Tensor] | None = None
    fits: Callable[[Graph, str], bool] = _always
    replay: ReplayPlan | None = None
    searches: bool = False

    def __call__(self, *arguments: Any, **options: Any) -> LowerBounds:
        """Return the bounds of a problem."""
        return self.bound(*arguments, **options)

    def cost(self, problem: Problem, boxes: Mapping[str, Box] | None = None) -> Tensor:
        """Return the passes the method costs each example, (n,), given what bounds on nodes are known already."""
        total = torch.full((len(problem),), self.passes(problem.specification.shape[1]), dtype=torch.int64)
        return total if self.refinement is None else total + self.refinement(problem.propagate(boxes=boxes))


def _when_named(graph: Graph, norm: str) -> bool:
    """Return False: the method runs where it is asked for by name."""
    return False


def _has_lipschitz_constant(graph: Graph, norm: str) -> bool:
    """Return whether Lipschitz constants are worth a try: for l2 balls, where they can win, if there is one."""
    if norm != "l2":
        return False
    try:
        lipschitz_constants(graph)
    except UnsupportedOperation:
        return False
    return True


def _is_narrow(graph: Graph, norm: str) -> bool:
    """Return whether forward bounds cost a small part of what backward sweeps do.

    They do where the input is a vector of fewer than an eighth of the entries of the widest nonlinear node.
    """
    widths = [math.prod(node.shape) for node in graph.nodes if isinstance(node.kind, Elementwise | PReLU)]
    return len(graph.input.shape) == 1 and 8 * graph.input.shape[0] < max(widths, default=0)


METHODS: dict[str, Method] = {
    "interval": Method(bound=interval, passes=lambda rows: 2, replay=ReplayPlan(flat=True)),
    "lipschitz": Method(bound=lipschitz, passes=lambda rows: 4 + rows, fits=_has_lipschitz_constant),
    "crown-ibp": Method(bound=crown_ibp, replay=ReplayPlan()),
    "forward": Method(bound=forward, refinement=forward_passes, fits=_is_narrow, replay=ReplayPlan(refined=True)),
    "crown": Method(bound=crown, refinement=refinement_passes, replay=ReplayPlan(refined=True)),
    "optimised": Method(
        bound=optimised,
        # Each step carries every row back and forth.
        passes=lambda rows: 2 + rows + 2 * STEPS * rows,
        refinement=refinement_passes,
        replay=ReplayPlan(refined=True, lower="every"),
    ),
    "wong-kolter": Method(
        bound=wong_kolter,
        refinement=refinement_passes,
        fits=_when_named,
        replay=ReplayPlan(refined=True, lower="parallel"),
    ),
    "lp": Method(
        bound=lp,
        # Besides the solver's pivots, which are not passes: each row is carried to the program and swept twice.
        passes=lambda rows: 2 + 3 * rows,
        refinement=refinement_passes,
        fits=_when_named,
        replay=ReplayPlan(refined=True, lower="every"),
    ),
    "lp-tight": Method(
        bound=lp_tight,
        passes=lambda rows: 2 + 3 * rows,
        refinement=lambda bounds: 3 * refinement_passes(bounds),
        fits=_when_named,
        replay=ReplayPlan(refined=True, lower="every"),
    ),
    "sdp": Method(
        bound=sdp,
        # Besides the linear program: a step of Newton's is counted as one pass of its row, whatever it costs.
        passes=lambda rows: 2 + (3 + NEWTON_STEPS) * rows,
        refinement=refinement_passes,
        fits=_when_named,
    ),
    "complete": Method(
        bound=complete,
        # Besides the parts it bounds, whose number is not known before.
        passes=lambda rows: 2 + rows,
        refinement=lambda bounds: 3 * refinement_passes(bounds),
        fits=_when_named,
        replay=ReplayPlan(refined=True, lower="every"),
        searches=True,
    ),
}

AUTO = "auto"

COMPLETE = "complete"
"""Branch and bound: the last of the cascade."""

ALIASES = {"ibp": "interval", "alpha-crown": "optimised"}
"""The field's names of methods that are stored under others."""


def methods_of(name: str, graph: Graph, norm: str, *, budgeted: bool = False) -> tuple[str, ...]:
    """Return the stored names of the methods that a name stands for.

    ``"auto"`` is the cascade of those that fit graph and norm, and of ``"complete"`` as the last of them where what an
    example may cost is limited; any other name, or the field's name for it, stands for one method.

    Parameters
    ----------
    name, graph, norm
        The name, the network, and the norm of the ball.
    budgeted
        Whether passes or CPU seconds per example are limited: without a limit branch and bound may take minutes.

    Raises
    ------
    InputError
        If the method is unknown.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.graph import capture
    >>> graph = capture(torch.nn.Linear(2, 2), (2,))
    >>> eb.certificates.methods_of("alpha-crown", graph, "linf")
    ('optimised',)
    >>> eb.certificates.methods_of("auto", graph, "linf")
    ('interval', 'crown-ibp', 'crown', 'optimised')
    >>> eb.certificates.methods_of("auto", graph, "linf", budgeted=True)[-1]
    'complete'
    """
    if name == AUTO:
        cascade = tuple(known for known, method in METHODS.items() if method.fits(graph, norm))
        return (*cascade, COMPLETE) if budgeted else cascade
    stored = ALIASES.get(name, name)
    lookup({AUTO: None, **METHODS, **ALIASES}, stored, "method")
    return (stored,)
