"""A bound of the user's own in place of a registered method: a function, a `Method`, or ``FILE.py:NAME``."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch

from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.registry import ALIASES, AUTO, METHODS, Method
from epsball.errors import InputError
from epsball.models.own_code import own_object, takes
from epsball.option_text import read_options, split_options

NOT_REPLAYABLE = "the bound is the user's own, which the checker does not know"


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnBound:
    """A bound of the user's own, with its options.

    Parameters
    ----------
    name
        The name of its function, under which results list it.
    bound
        ``bound(problem, **options) -> LowerBounds``.
    method
        What it costs and when it fits; its `bound` has the options, and what it returns is checked.
    options
        The options given.
    """

    name: str
    bound: Callable[..., LowerBounds]
    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)


def own_bound(method: object) -> OwnBound | None:
    """Return the user's own bound that a text, a function or a `Method` stands for; None for a registered name.

    Parameters
    ----------
    method
        ``FILE.py:NAME[,option=value]...``, where NAME is a function ``bound(problem, *, option=default)`` or a `Method`
        made of one; or the function or the `Method` itself.

    Raises
    ------
    InputError
        If the file or the name is missing, it is not a bound, has no such option, or has the name of a registered one.

    Examples
    --------
    >>> from epsball.certificates import interval
    >>> def halved(problem):
    ...     return interval(problem)
    >>> own_bound(halved).name
    'halved'
    >>> own_bound("crown") is None
    True
    """
    if not isinstance(method, str):
        return _with_options(method, repr(method), {})
    if ".py" not in method:
        return None
    text, options = split_options(method)
    found = own_object(text, "bound")
    return None if found is None else _with_options(found, text, options)


def _with_options(found: Any, text: str, options: Mapping[str, str]) -> OwnBound:
    method = found if isinstance(found, Method) else None
    bound = found if method is None else method.bound
    if isinstance(bound, type) or not callable(bound) or not takes(bound, "problem"):
        raise InputError(
            f"{text} is not a bound: a bound is a function of a Problem that returns LowerBounds, or an "
            "epsball.certificates.Method made of one."
        )
    name = getattr(bound, "__name__", type(bound).__name__)
    if name in (AUTO, *METHODS, *ALIASES):
        raise InputError(f"{text} has the name of the registered method '{name}'; give the function another name.")
    if method is not None and method.replay is not None:
        raise InputError(f"{text} has a replay, but {NOT_REPLAYABLE}; leave it out.")
    named = inspect.signature(bound).parameters.values()
    defaults = {given.name: given.default for given in named if given.default is not given.empty}
    values = read_options(f"the bound '{name}'", defaults, options)
    checked = partial(_checked, bound, name, **values)
    entered = Method(bound=checked) if method is None else replace(method, bound=checked)
    return OwnBound(name=name, bound=cast("Callable[..., LowerBounds]", bound), method=entered, options=values)


def _checked(bound: Callable[..., LowerBounds], name: str, problem: Problem, **options: Any) -> LowerBounds:
    """Return what a bound gives for a problem.

    Raises
    ------
    InputError
        If it is not one lower bound per row in float64, with bounds on the logits.
    """
    found = bound(problem, **options)
    if not isinstance(found, LowerBounds):
        raise InputError(
            f"the bound '{name}' returned a {type(found).__name__}; return LowerBounds(rows=..., boxes=...)."
        )
    shape = problem.specification.shape[:2]
    if found.rows.shape != shape or found.rows.dtype != torch.float64:
        raise InputError(
            f"the bound '{name}' gave rows of shape {tuple(found.rows.shape)} in {found.rows.dtype}; give one lower "
            f"bound per row of the specification, {tuple(shape)}, in torch.float64."
        )
    if bool(found.rows.isnan().any()):
        raise InputError(f"the bound '{name}' gave NaN; where nothing is known the lower bound is -infinity.")
    if problem.graph.output not in found.boxes:
        raise InputError(
            f"the bound '{name}' gave no bounds on the logits (node '{problem.graph.output}'); give bounds on every "
            "node, such as boxes=problem.propagate().boxes."
        )
    return found
