"""17.4.3: adaptive and black-box attacks on certified examples."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball.certificates import certify
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import without_exception
from epsball.chapter.item import Item
from epsball.chapter.items.columns import stands
from epsball.chapter.items.drawing import draw_shares
from epsball.chapter.laboratory import Laboratory
from epsball.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ATTACKS = {
    "ensemble": "ensemble",
    "adaptive": "adaptive",
    "square": "square,queries=2000",
    "pgd": "pgd,steps=50,restarts=5",
}


def measure(laboratory: Laboratory) -> Tables:
    """Return which of the examples stand under each attack, and which are certified."""
    x, y = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=100, default=500))
    network, ball = laboratory.network("ibp"), laboratory.ball()
    certified = certify(network, x, y, ball, method="auto").certified
    rows = {name: stands(network, (x, y), ball, method, seed=laboratory.seed) for name, method in ATTACKS.items()}
    return {"examples": {"certified": torch.as_tensor(certified).tolist(), **rows}}


def _safe(tables: Tables) -> Decision:
    rows = {name: np.asarray(column, dtype=bool) for name, column in tables["examples"].items()}
    exceptions = [
        f"{name}: example {k}" for name in ATTACKS for k in np.flatnonzero(rows["certified"] & ~rows[name]).tolist()
    ]
    return without_exception(
        exceptions,
        len(ATTACKS) * int(rows["certified"].sum()),
        "no attack breaks a certified example (attacks x examples)",
    )


def draw(tables: Tables) -> "Figure":
    """Return what is certified and what stands."""
    figure = new_figure(6.4, 2.8)
    shown = {"certified": tables["examples"]["certified"]}
    shown.update({f"stands: {name}": tables["examples"][name] for name in ATTACKS})
    draw_shares(figure.subplots(), shown, "share of examples")
    return figure


ITEM = Item(
    name="certified-properties",
    section="17.4.3",
    title="Attacks on certified examples",
    claims=(
        Claim(
            name="safe",
            says="No adversarial example lies in a certified perturbation set, whatever the attack.",
            criterion="Gradient, adaptive and black-box attacks break none of the certified examples.",
            decide=_safe,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("ibp",),
)
