"""Attacks by name, with options as text: ours, and those that installed packages register."""

import dataclasses
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from epsball.attacks.adaptive.adaptive import Adaptive
from epsball.attacks.black_box.distilled import Distilled
from epsball.attacks.black_box.hop_skip_jump import HopSkipJump
from epsball.attacks.black_box.nes import NES
from epsball.attacks.black_box.spsa import SPSA
from epsball.attacks.black_box.square import Square
from epsball.attacks.composed.autoattack import AutoAttack, RandomisedAutoAttack
from epsball.attacks.composed.ensemble import Ensemble
from epsball.attacks.composed.minimum_norm import MinimumNorm
from epsball.attacks.gradient.apgd import APGD, TargetedAPGD
from epsball.attacks.gradient.momentum import MomentumPGD
from epsball.attacks.gradient.pgd import FGSM, PGD, RandomisedFGSM
from epsball.attacks.gradient.second_order import SecondOrder
from epsball.attacks.minimum_norm.carlini_wagner import CarliniWagner, CarliniWagnerLinf
from epsball.attacks.minimum_norm.ddn import DDN
from epsball.attacks.minimum_norm.deepfool import DeepFool
from epsball.attacks.minimum_norm.fab import FAB, TargetedFAB
from epsball.attacks.minimum_norm.fmn import FMN
from epsball.attacks.minimum_norm.pdpgd import PDPGD
from epsball.attacks.parts.attack import Attack, ThirdPartyAttack, as_attack
from epsball.errors import InputError, lookup
from epsball.models.own_code import made, own_files, own_object, takes
from epsball.option_text import read_options, split_options

Options = TypeVar("Options")
"""An attack, or an object of another package."""

ENTRY_POINTS = "epsball.attacks"
"""The group under which a package registers attacks: a name, and a callable that makes one."""

ATTACKS: dict[str, type[Attack]] = {
    "pgd": PGD,
    "fgsm": FGSM,
    "fgsm-rs": RandomisedFGSM,
    "mi-fgsm": MomentumPGD,
    "apgd": APGD,
    "apgd-t": TargetedAPGD,
    "carlini-wagner": CarliniWagner,
    "carlini-wagner-linf": CarliniWagnerLinf,
    "ddn": DDN,
    "fmn": FMN,
    "deepfool": DeepFool,
    "fab": FAB,
    "fab-t": TargetedFAB,
    "pdpgd": PDPGD,
    "minimum-norm": MinimumNorm,
    "square": Square,
    "autoattack": AutoAttack,
    "autoattack-rand": RandomisedAutoAttack,
    "ensemble": Ensemble,
    "adaptive": Adaptive,
    "second-order": SecondOrder,
    "spsa": SPSA,
    "nes": NES,
    "hop-skip-jump": HopSkipJump,
    "distilled": Distilled,
}

NEED_OBJECTS = {
    "collision": "Collision(pool=(x, y))",
    "transfer": "Transfer(surrogate=classifier)",
}
"""Attacks that a text cannot name because they need more than numbers, and how to make them."""


def known() -> Mapping[str, type[Attack] | EntryPoint]:
    """Return what is registered: our own attacks, then those of installed packages, not yet loaded."""
    others = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    return {**others, **ATTACKS}


def gradient_free() -> list[str]:
    """Return the names of our attacks that need no gradient."""
    return [*(name for name, kind in ATTACKS.items() if kind.gradient_free), *NEED_OBJECTS.values()]


def resolve(method: str | Attack) -> Attack:
    """Return the attack of a text ``NAME[,option=value]...``, or the object itself.

    NAME is registered, or ``FILE.py:NAME`` one of your own. Options are the numbers and texts among the attack's
    fields: ``pgd,steps=100,restarts=5``. An object of another package that has a name and a call, but is not an
    `Attack`, comes back as a `ThirdPartyAttack`.

    Raises
    ------
    InputError
        If no attack has that name, it has no such option, or the object is not an attack.
    """
    if isinstance(method, str):
        name, options = split_options(method)
        kind = own_object(name, "attack")
        if kind is not None:
            return with_options(_of_own_code(kind, name), name, options)
        own = {**ATTACKS, **NEED_OBJECTS}
        source = own[name] if name in own else lookup({**known(), **NEED_OBJECTS}, name, "attack")
        if isinstance(source, str):
            raise InputError(f"the attack '{name}' needs more than a text; give method={source}.")
        return with_options(_made(name, source), name, options)
    attack = as_attack(method)
    if attack is None:
        raise InputError(f"method is {method!r}; give an attack such as PGD(steps=40), or the name of one.")
    return attack


def _of_own_code(kind: Callable[..., Any], text: str) -> Attack:
    """Return an attack of the user's own with its default options.

    Raises
    ------
    InputError
        If it is not an attack.
    """
    own = made(kind, text, "attack")
    attack, name = as_attack(own), getattr(own, "name", None)
    if attack is None or not isinstance(name, str) or not takes(own, "query", "ball", keys="keys"):
        raise InputError(
            f"{text} is not an attack: an attack is a class that inherits from epsball.attacks.Attack, with a name and "
            "__call__(self, query, ball, *, keys)."
        )
    return attack


def files_of(attack: Attack) -> dict[str, str]:
    """Return the files of the user's own from which an attack, and those it is made of, were loaded, with SHA-256."""
    own = attack.attack if isinstance(attack, ThirdPartyAttack) else attack
    parts = [getattr(own, field.name) for field in dataclasses.fields(own)] if dataclasses.is_dataclass(own) else []
    found = [files_of(part) for part in parts if isinstance(part, Attack)]
    return {name: digest for files in (own_files(own) or {}, *found) for name, digest in files.items()}


def _made(name: str, source: type[Attack] | EntryPoint) -> Attack:
    """Return an attack with its default options.

    Raises
    ------
    InputError
        If another package's entry point cannot be loaded, or does not make an attack.
    """
    if not isinstance(source, EntryPoint):
        return source()
    try:
        made = source.load()()
    except Exception as error:
        raise InputError(f"the attack '{name}' ({source.value}) cannot be made: {error}") from error
    attack = as_attack(made)
    if attack is None:
        raise InputError(f"the attack '{name}' ({source.value}) is a {type(made).__name__}, which is not an attack.")
    return attack


def with_options(attack: Options, name: str, options: dict[str, str]) -> Options:
    """Return the attack with options given as texts, each read as the type its field has now."""
    if not options:
        return attack
    if isinstance(attack, ThirdPartyAttack):
        return dataclasses.replace(attack, attack=with_options(attack.attack, name, options))
    if not dataclasses.is_dataclass(attack) or isinstance(attack, type):
        raise InputError(f"the attack '{name}' is not a dataclass and takes no options as text; give method=an object.")
    current = {field.name: getattr(attack, field.name) for field in dataclasses.fields(attack)}
    return dataclasses.replace(attack, **read_options(f"the attack '{name}'", current, options))
