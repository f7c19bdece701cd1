"""Attacks by name, with options as text."""

import dataclasses
from collections.abc import Callable

from epsball.attacks.carlini_wagner import CarliniWagner
from epsball.attacks.ddn import DDN
from epsball.attacks.deepfool import DeepFool
from epsball.attacks.fab import FAB, TargetedFAB
from epsball.attacks.fmn import FMN
from epsball.attacks.pdpgd import PDPGD
from epsball.attacks.pgd import FGSM, PGD, RandomisedFGSM
from epsball.attacks.protocol import Attack
from epsball.errors import InputError, choose
from epsball.texts import split_options

ATTACKS: dict[str, Callable[[], Attack]] = {
    "pgd": PGD,
    "fgsm": FGSM,
    "fgsm-rs": RandomisedFGSM,
    "carlini-wagner": CarliniWagner,
    "ddn": DDN,
    "fmn": FMN,
    "deepfool": DeepFool,
    "fab": FAB,
    "fab-t": TargetedFAB,
    "pdpgd": PDPGD,
}


def resolve(method: str | Attack) -> Attack:
    """Return the attack of a text ``NAME[,option=value]...``, or the object itself.

    Options are the numbers and texts among the attack's fields: ``pgd,steps=100,restarts=5``.

    Raises
    ------
    InputError
        If no attack has that name, it has no such option, or the object is no attack.
    """
    if isinstance(method, str):
        name, options = split_options(method)
        return with_options(choose(ATTACKS, name, "attack")(), name, options)
    if isinstance(method, type) or not isinstance(method, Attack):
        raise InputError(f"method is {method!r}; give an attack such as PGD(steps=40), or the name of one.")
    return method


def with_options(attack: Attack, name: str, options: dict[str, str]) -> Attack:
    """Return the attack with options given as texts, each read as the type its field has now."""
    if not options:
        return attack
    current = {
        field.name: getattr(attack, field.name)
        for field in dataclasses.fields(attack)  # type: ignore[arg-type]
        if type(getattr(attack, field.name)) in (int, float, str)
    }
    values: dict[str, object] = {}
    for key, text in options.items():
        kind = type(choose(current, key, f"option of the attack '{name}'"))
        try:
            values[key] = kind(text)
        except ValueError as error:
            raise InputError(f"option {key}={text} of '{name}' is no {kind.__name__}.") from error
    return dataclasses.replace(attack, **values)  # type: ignore[type-var]
