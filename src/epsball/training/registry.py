"""Objectives by name."""

from epsball.ball import Ball
from epsball.errors import InputError, choose
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
    return choose(OBJECTIVES, name, "objective")


def resolve(objective: str | Objective, ball: Ball | None) -> Objective:
    """Return the objective itself, or the one of that name for the ball, with its defaults.

    Raises
    ------
    InputError
        If no objective has that name, or it needs a ball.
    """
    if not isinstance(objective, str):
        return objective
    kind = named(objective)
    if "ball" not in kind.__dataclass_fields__:
        return kind()
    if ball is None:
        raise InputError(f"the objective '{objective}' needs a ball, as in ball=Ball('linf', '8/255').")
    return kind(ball=ball)
