"""Objectives by name."""

from epsball.errors import InputError, nearest
from epsball.training.objective import Objective
from epsball.training.pgd import PGD
from epsball.training.standard import Standard

OBJECTIVES: dict[str, type] = {"standard": Standard, "pgd": PGD}


def named(name: str) -> type:
    """Return the class of objectives registered under a name.

    Raises
    ------
    InputError
        If no objective has that name.
    """
    if name not in OBJECTIVES:
        raise InputError(f"unknown objective '{name}'; known: {', '.join(OBJECTIVES)}.{nearest(name, OBJECTIVES)}")
    return OBJECTIVES[name]


def resolve(objective: str | Objective) -> Objective:
    """Return the objective itself, or the one of that name with its defaults.

    Raises
    ------
    InputError
        If no objective has that name, or it needs a ball.
    """
    if not isinstance(objective, str):
        return objective
    kind = named(objective)
    if "ball" in kind.__dataclass_fields__:
        raise InputError(f"the objective '{objective}' needs a ball: {kind.__name__}(ball=Ball('linf', '8/255')).")
    return kind()
