"""Attacks by name, with options as text: ours, and those that installed packages register."""

import dataclasses
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

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
from epsball.attacks.minimum_norm.carlini_wagner import CarliniWagner
from epsball.attacks.minimum_norm.carlini_wagner_linf import CarliniWagnerLinf
from epsball.attacks.minimum_norm.ddn import DDN
from epsball.attacks.minimum_norm.deepfool import DeepFool
from epsball.attacks.minimum_norm.fab import FAB, TargetedFAB
from epsball.attacks.minimum_norm.fmn import FMN
from epsball.attacks.minimum_norm.pdpgd import PDPGD
from epsball.attacks.parts.protocol import Attack
from epsball.errors import InputError, lookup
from epsball.option_text import read_options, split_options

Factory = Callable[[], Attack]

ENTRY_POINTS = "epsball.attacks"
"""The group under which a package registers attacks: a name, and a callable that makes one."""

ATTACKS: dict[str, Factory] = {
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
    "second-order": SecondOrder,
    "spsa": SPSA,
    "nes": NES,
    "hop-skip-jump": HopSkipJump,
}

OBJECTS = {
    "collision": "Collision(pool=(x, y))",
    "transfer": "Transfer(surrogate=classifier)",
}
"""Attacks that a text cannot name, for they need more than numbers, and how to make them."""


def known() -> Mapping[str, Factory | EntryPoint]:
    """Return what is registered: our own attacks, then those of installed packages, not yet loaded."""
    others = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    return {**others, **ATTACKS}


def gradient_free() -> list[str]:
    """Return the names of our attacks that need no gradient."""
    named = [name for name, factory in ATTACKS.items() if getattr(factory, "gradient_free", False)]
    return [*named, *OBJECTS.values()]


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
        own = {**ATTACKS, **OBJECTS}
        source = own[name] if name in own else lookup({**known(), **OBJECTS}, name, "attack")
        if isinstance(source, str):
            raise InputError(f"the attack '{name}' needs more than a text; give method={source}.")
        return with_options(_made(name, source), name, options)
    if isinstance(method, type) or not isinstance(method, Attack):
        raise InputError(f"method is {method!r}; give an attack such as PGD(steps=40), or the name of one.")
    return method


def _made(name: str, source: Factory | EntryPoint) -> Attack:
    """Return the attack that a registered callable makes.

    Raises
    ------
    InputError
        If another package's entry point cannot be loaded, or makes no attack.
    """
    if not isinstance(source, EntryPoint):
        return source()
    try:
        attack = source.load()()
    except Exception as error:
        raise InputError(f"the attack '{name}' ({source.value}) cannot be made: {error}") from error
    if not isinstance(attack, Attack):
        raise InputError(f"the attack '{name}' ({source.value}) is a {type(attack).__name__}, which is no attack.")
    return attack


def with_options(attack: Attack, name: str, options: dict[str, str]) -> Attack:
    """Return the attack with options given as texts, each read as the type its field has now."""
    if not options:
        return attack
    if not dataclasses.is_dataclass(attack):
        raise InputError(f"the attack '{name}' is not a dataclass and takes no options as text; give method=an object.")
    current = {field.name: getattr(attack, field.name) for field in dataclasses.fields(attack)}
    return dataclasses.replace(attack, **read_options(f"the attack '{name}'", current, options))
