"""Objectives by name, with options as text."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from epsball.ball import Ball
from epsball.errors import InputError, lookup, nearest
from epsball.models.own_code import made, own_object, takes
from epsball.option_text import read_options, split_options
from epsball.training.objectives.awp import AWP
from epsball.training.objectives.cascade import Cascade
from epsball.training.objectives.certified.crown_ibp import CROWNIBP
from epsball.training.objectives.certified.ibp import IBP
from epsball.training.objectives.certified.lipschitz import LipschitzMargin
from epsball.training.objectives.certified.mtl_ibp import MTLIBP
from epsball.training.objectives.certified.sabr import SABR
from epsball.training.objectives.certified.taps import STAPS, TAPS
from epsball.training.objectives.certified.wong_kolter import WongKolter
from epsball.training.objectives.fgsm_rs import FGSMRS
from epsball.training.objectives.free import Free
from epsball.training.objectives.gaussian import Gaussian
from epsball.training.objectives.input_gradient import InputGradient
from epsball.training.objectives.kgb17 import KGB17
from epsball.training.objectives.mart import MART
from epsball.training.objectives.objective import Objective
from epsball.training.objectives.pgd import PGD
from epsball.training.objectives.stability import Stability
from epsball.training.objectives.standard import Standard
from epsball.training.objectives.trades import TRADES

OBJECTIVES: dict[str, type] = {
    "standard": Standard,
    "pgd": PGD,
    "fgsm-rs": FGSMRS,
    "free": Free,
    "trades": TRADES,
    "mart": MART,
    "awp": AWP,
    "kgb17": KGB17,
    "stability": Stability,
    "gaussian": Gaussian,
    "input-gradient": InputGradient,
    "cascade": Cascade,
    "ibp": IBP,
    "crown-ibp": CROWNIBP,
    "sabr": SABR,
    "mtl-ibp": MTLIBP,
    "wong-kolter": WongKolter,
    "taps": TAPS,
    "staps": STAPS,
    "lipschitz": LipschitzMargin,
}


def named(name: str) -> type:
    """Return the class of objectives registered under a name, or the one that ``FILE.py:NAME`` names.

    Raises
    ------
    InputError
        If no objective has that name, or the file holds none.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.training.named("fgsm-rs").__name__
    'FGSMRS'
    """
    own = own_object(name, "objective")
    if own is None:
        return lookup(OBJECTIVES, name, "objective")
    if not isinstance(own, type) or not _is_objective(own):
        raise InputError(
            f"{name} is not a class of objectives: one has a name and __call__(self, module, x, y, context), or "
            "inherits from epsball.training.Adversarial and has a name, search and losses."
        )
    return own


def _is_objective(kind: type) -> bool:
    """Return whether a class has a name and a call that gives the losses of a batch."""
    called = next((vars(base)["__call__"] for base in kind.__mro__ if "__call__" in vars(base)), None)
    batch = ("self", "module", "x", "y", "context")
    return isinstance(getattr(kind, "name", None), str) and called is not None and takes(called, *batch)


def resolve(objective: str | Objective, ball: Ball | None, **parts: Any) -> Objective:
    """Return the objective itself, or build the one that a text ``NAME[,option=value]...`` names; NAME or FILE.py:NAME.

    Parameters
    ----------
    objective
        An objective, or a text: ``trades,beta=6,steps=10``. ``awp`` wraps the one of its option
        ``objective``, which takes the other options: ``awp,objective=trades,gamma=0.005,beta=6``.
    ball
        The ball of the objectives that need one.
    parts
        Values that no text can hold, by their option's name (`Cascade`'s ``source``).

    Raises
    ------
    InputError
        If no objective has that name or option, it needs a ball, or a part of it is missing.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.training.resolve("trades,beta=1", eb.Ball("linf", "8/255")).beta
    1.0
    """
    if not isinstance(objective, str):
        if isinstance(objective, type) or not isinstance(objective, Objective) or not hasattr(objective, "name"):
            raise InputError(
                f"objective is {objective!r}; give a name, such as 'pgd', or an objective, such as PGD(ball=ball)."
            )
        return objective
    name, options = split_options(objective)
    if name == "awp":
        return _wrapped(options, ball, parts)
    return _built(name, options, ball, parts)


def _wrapped(options: dict[str, str], ball: Ball | None, parts: Mapping[str, Any]) -> AWP:
    own = {key: options.pop(key) for key in ("gamma", "after") if key in options}
    inner = _built(options.pop("objective", "pgd"), options, ball, parts)
    return AWP(objective=inner, **_read("awp", AWP, own))  # type: ignore[arg-type]


def _built(name: str, options: dict[str, str], ball: Ball | None, parts: Mapping[str, Any]) -> Objective:
    kind = named(name)
    given = {key: part for key, part in parts.items() if part is not None}
    fields = _defaults(kind)
    for key in (*options, *given):
        if key not in fields:
            takes = ", ".join(fields) or "no options"
            raise InputError(f"the objective '{name}' takes no {key}; it takes {takes}.{nearest(key, fields)}")
    values = {**_read(name, kind, options), **given}
    if "ball" in fields:
        if ball is None:
            raise InputError(f"the objective '{name}' needs a ball: ball=Ball('linf', '8/255'), or --ball linf:8/255.")
        values["ball"] = ball
    for key, default in fields.items():
        if key not in values and default is dataclasses.MISSING:
            raise InputError(f"the objective '{name}' needs {key}: give it.")
    return kind(**values) if name in OBJECTIVES else made(kind, name, "objective", **values)


def _defaults(kind: type) -> dict[str, Any]:
    """Return the default of every option, MISSING where it has none; a class that is not a dataclass has no options."""
    if not dataclasses.is_dataclass(kind):
        return {}
    return {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(kind)
    }


def _read(name: str, kind: type, options: Mapping[str, str]) -> dict[str, Any]:
    """Return options given as texts, each read as the type of its field's default."""
    return read_options(f"the objective '{name}'", _defaults(kind), options)
