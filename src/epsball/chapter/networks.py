"""The networks of the chapter's items: each is trained once and serves every item that names it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from epsball.chapter.claim import Size
from epsball.chapter.zoo.bases import FGSM, Base, DataName
from epsball.errors import lookup
from epsball.masking.zoo.published.thermometer import Thermometer

BALLS: dict[DataName, dict[str, str]] = {
    "digits": {"linf": "linf:0.1", "l2": "l2:0.5", "l1": "l1:2"},
    "mnist": {"linf": "linf:0.2", "l2": "l2:1.5", "l1": "l1:8"},
    "fashion": {"linf": "linf:0.05", "l2": "l2:0.75", "l1": "l1:4"},
    "cifar10": {"linf": "linf:0.031", "l2": "l2:0.5", "l1": "l1:12"},
}
"""Radii at which training for them leaves a network of use."""

_MODELS: dict[DataName, str] = {
    "digits": "conv_net,widths=16:32",
    "mnist": "conv_net,widths=16:32",
    "fashion": "conv_net,widths=16:32",
    "cifar10": "conv_net,widths=32:64",
}

_LARGE = "preact_resnet18"
"""Of runs in full size: the family of the papers."""

_EPOCHS: dict[DataName, int] = {"digits": 40, "mnist": 8, "fashion": 8, "cifar10": 10}
_LENGTHS = {"ibp": 1.6, "wsmk18": 0.3}
"""In the epochs of the others: interval bounds need more, and an epoch with the dual of the polytope takes longest."""

_LONG = 30
_EXAMPLES: dict[DataName, int | None] = {"digits": None, "mnist": 20_000, "fashion": 20_000, "cifar10": 20_000}

BETAS = (0.5, 1.0, 2.0, 6.0, 12.0)
"""Of the beta curve, beside standard training, which is beta 0; 1, 2 and 6 are rows of Table 17.1."""

KS = (1, 5, 10)
"""Steps of PGD training."""

DEFENCES: dict[str, tuple[str, str]] = {
    "standard": ("standard", "linf"),
    "fgsm": (FGSM, "linf"),
    "fgsm-far": (FGSM, "linf"),
    "pgd-far": ("pgd,steps=7", "linf"),
    **{f"pgd-{k}": (f"pgd,steps={k}", "linf") for k in KS},
    "pgd-l2": ("pgd,steps=5", "l2"),
    "pgd-l1": ("pgd,steps=5", "l1"),
    **{f"trades-{beta:g}": (f"trades,beta={beta:g},steps=5", "linf") for beta in BETAS},
    "kgb17": ("kgb17", "linf"),
    "rdv17": ("input-gradient,weight=10", "linf"),
    "zslg16": ("stability", "linf"),
    "wsmk18": ("wong-kolter,projections=20", "linf"),
    "ibp": ("ibp,kappa=0,l1=1e-4", "linf"),
    "thermometer": ("standard", "linf"),
    "cascade": ("cascade", "linf"),
}
"""Objective and norm of each network; `cost` alone asks for "fgsm", and for an epoch of it."""

FINE_TUNED: dict[str, tuple[str, str]] = {"cascade": ("standard", f"pgd-{KS[0]}")}
"""Networks that begin with the weights of another, and the source of cascade training: one trained in one step."""

ENCODERS: dict[str, Callable[[], Any]] = {"thermometer": Thermometer}
"""What stands in front of a network while it is trained."""

PGD = "pgd-5"
"""The PGD-trained network that items use which need one."""

FAR = ("fgsm-far", "pgd-far")
"""Trained at a radius at which one-step training collapses."""

SCALES = {"fgsm-far": 2.5, "pgd-far": 2.5, "ibp": 1.6}
"""Radius trained for, in that of `BALLS`: of bounds a larger one, so that certificates in the ball have room."""


def base(defence: str, data: DataName, size: Size) -> Base:
    """Return how a network is trained.

    Raises
    ------
    InputError
        If no network of the chapter has the name.
    """
    objective, norm = lookup(DEFENCES, defence, "network of the chapter:")
    others = tuple(keyed(base(other, data, size)).name for other in FINE_TUNED.get(defence, ()))
    start, source = others or (None, None)
    return Base(
        name=f"{data}-{defence}",
        data=data,
        model=_LARGE if size == "full" else _MODELS[data],
        objective=objective,
        ball=_ball(defence, data, norm),
        shows=f"{objective} on {data}",
        recipe=_recipe(defence, data, size),
        examples=_EXAMPLES[data] if size != "full" else None,
        start=start,
        source=source,
        encoder=ENCODERS.get(defence),
    )


def _ball(defence: str, data: DataName, norm: str) -> str:
    """Return the ball trained for."""
    name, _, radius = BALLS[data][norm].partition(":")
    return f"{name}:{SCALES.get(defence, 1.0) * float(radius):g}"


def _recipe(defence: str, data: DataName, size: Size) -> dict[str, Any]:
    common = {"optimiser": "adam", "lr": 2e-3, "weight_decay": 0.0, "schedule": "one-cycle"}
    small = {"batch_size": 64, "holdout": 0.05} if data == "digits" else {"batch_size": 128, "holdout": 0.01}
    objective, norm = DEFENCES[defence]
    steep = data == "mnist" and norm == "linf" and objective.startswith(("pgd", "trades"))
    # At the whole radius from the first step on, such a training may end at a constant classifier.
    ramped = {"warm_up": 0.3} if steep else {}
    bounded = {"warm_up": 0.4, "schedule": "cosine", "lr": 5e-3} if defence in ("ibp", "wsmk18") else {}
    augmented = {"augment": "crop=4,flip"} if data == "cifar10" else {}
    epochs = _LONG if size == "full" else round(_EPOCHS[data] * _LENGTHS.get(defence, 1.0))
    return {**common, **small, **ramped, **bounded, **augmented, "epochs": epochs}


def keyed(one: Base) -> Base:
    """Return the base under a name that ends with the hash of how it is trained: another way has another folder."""
    document = json.dumps(_plain(one), sort_keys=True)
    return replace(one, name=f"{one.name}-{hashlib.sha256(document.encode()).hexdigest()[:8]}")


def described(defences: tuple[str, ...], size: Size) -> list[dict[str, Any]]:
    """Return how these networks are trained on every data set, as JSON's types."""
    data: tuple[DataName, ...] = ("digits", "mnist", "fashion", "cifar10")
    return [_plain(base(defence, name, size)) for defence in defences for name in data]


def _plain(one: Base) -> dict[str, Any]:
    encoder: Callable[..., Any] | None = one.encoder
    return {**asdict(one), "encoder": None if encoder is None else encoder.__name__}
