"""17.2.3: what circumvents gradient masking."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.items.columns import stands
from epsball.chapter.items.drawing import draw_shares
from epsball.chapter.items.masking.flat_regions import SCALE, Scaled
from epsball.chapter.laboratory import Laboratory
from epsball.classifier import Classifier
from epsball.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = 16
"""Of the rounding in front of the network."""

ATTACKS = {
    "pgd": ("PGD-20", "pgd,steps=20"),
    "restarts": ("PGD-20, 10 restarts", "pgd,steps=20,restarts=10"),
    "black-box": ("Square", "square,queries=1000"),
    "second-order": ("second-order", "second-order"),
    "adaptive": ("adaptive", "adaptive"),
}
MASKED = {"scaled": "logits x 50", "rounded": "rounding to 16 levels"}


class Rounded(torch.nn.Module):
    """A network behind a rounding of its input, whose gradient is zero everywhere."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the rounded input."""
        return self.network((x * LEVELS).round() / LEVELS)


def measure(laboratory: Laboratory) -> Tables:
    """Return which examples stand under each attack, of the plain network and behind two defences that mask."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=100, default=300))
    standard, ball = laboratory.network("standard"), laboratory.ball()
    networks = {
        "plain": standard,
        "scaled": Classifier(Scaled(standard.network, SCALE)),
        "rounded": Classifier(Rounded(standard.network)),
    }
    rows: dict[str, list[bool]] = {}
    for name, network in networks.items():
        for attack, (_, method) in ATTACKS.items():
            if name == "rounded" and attack not in ("black-box", "adaptive"):
                continue  # no gradient reaches the input: these attacks refuse
            rows[f"{name}.{attack}"] = stands(network, examples, ball, method, seed=laboratory.seed)
        rows[f"{name}.right"] = (network.logits(examples[0]).argmax(1) == examples[1]).tolist()
    return {"examples": rows}


def _looks(tables: Tables) -> Decision:
    rows = tables["examples"]
    return pattern(
        Order(
            greater=rows["scaled.pgd"],
            less=rows["plain.pgd"],
            names=("stands under PGD: masked", "the same network, plain"),
        ),
        otherwise="The gradients that are left suffice for PGD.",
    )


def _by(attack: str, masked: str, weak: str) -> Callable[[Tables], Decision]:
    """Return the decision whether an attack breaks a masked network where a weaker measurement says it stands."""

    def decide(tables: Tables) -> Decision:
        rows = tables["examples"]
        names = (f"{MASKED[masked]}: stands under {weak}", f"under {ATTACKS[attack][0]}")
        return pattern(
            Order(greater=rows[f"{masked}.{weak}"], less=rows[f"{masked}.{attack}"], names=names),
            otherwise=f"{ATTACKS[attack][0]} does not find what {weak} misses here.",
        )

    return decide


def draw(tables: Tables) -> "Figure":
    """Return accuracy under each attack of both masked networks."""
    figure = new_figure(9.6, 3.4)
    for axes, (name, words) in zip(figure.subplots(1, 2), MASKED.items(), strict=True):
        shown = {"natural": tables["examples"][f"{name}.right"]}
        for attack, (label, _) in ATTACKS.items():
            if f"{name}.{attack}" in tables["examples"]:
                shown[label] = tables["examples"][f"{name}.{attack}"]
        draw_shares(axes, shown, f"accuracy under attack, {words}")
    return figure


ITEM = Item(
    name="circumvention",
    section="17.2.3",
    title="What circumvents masking",
    claims=(
        Claim(
            name="appearance",
            says="Masked gradients give the appearance of robustness.",
            criterion="More examples stand under PGD-20 than of the same network without the mask (McNemar).",
            decide=_looks,
        ),
        Claim(
            name="restarts",
            says="Random restarts circumvent masking.",
            criterion="Fewer stand under ten restarts than under one, of the network with scaled logits (McNemar).",
            decide=_by("restarts", "scaled", "pgd"),
            truth="Where the gradient is zero in all of the ball, no start helps.",
        ),
        Claim(
            name="black-box",
            says="Black-box optimisation circumvents masking.",
            criterion="Fewer stand under Square than are right, behind a rounding without gradient (McNemar).",
            decide=_by("black-box", "rounded", "right"),
        ),
        Claim(
            name="second-order",
            says="Second-order methods circumvent masking.",
            criterion="Fewer stand under the second-order attack than under PGD, of scaled logits (McNemar).",
            decide=_by("second-order", "scaled", "pgd"),
            truth="Where the loss is flat to float32 its second derivatives vanish too: another loss helps.",
        ),
        Claim(
            name="adaptive",
            says="Robustness must persist under adaptive attacks.",
            criterion="Fewer stand under `adaptive` than under Square, behind the rounding (McNemar).",
            decide=_by("adaptive", "rounded", "black-box"),
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("standard",),
)
