"""17.3.1: robust risk is natural risk plus boundary risk."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball.certificates import certify
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern, without_exception
from epsball.chapter.item import Item
from epsball.chapter.items.columns import right, stands
from epsball.chapter.laboratory import Laboratory
from epsball.figures import BLUE, GREY, VERMILION, new_figure
from epsball.risk import decompose

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = {"standard": "standard", "trades-6": "TRADES, beta 6", "ibp": "IBP"}


def measure(laboratory: Laboratory) -> Tables:
    """Return which examples are right, broken and certified, and the brackets of the three risks."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=200, default=1000))
    rows: dict[str, list[bool]] = {}
    risks: dict[str, list[float | str]] = {"network": [], "risk": [], "low": [], "high": []}
    for name in NETWORKS:
        network, ball = laboratory.network(name), laboratory.ball()
        correct, standing = right(network, examples), stands(network, examples, ball, "ensemble", seed=laboratory.seed)
        certified = certify(network, *examples, ball, method="crown").certified.tolist()
        columns = {"right": correct, "broken": [not one for one in standing], "certified": certified}
        rows.update({f"{name}.{column}": values for column, values in columns.items()})
        parts = decompose(torch.tensor(correct), torch.tensor(columns["broken"]), torch.tensor(certified))
        for risk in ("natural", "boundary", "robust"):
            bracket = getattr(parts, risk)
            found = (name, risk, bracket.low, bracket.high)
            for column, value in zip(risks.values(), found, strict=True):
                column.append(value)
    return {"examples": rows, "risks": risks}


def _sum(tables: Tables) -> Decision:
    exceptions, rows = [], tables["examples"]
    for name in NETWORKS:
        correct, broken = (np.asarray(rows[f"{name}.{column}"], dtype=bool) for column in ("right", "broken"))
        wrong = ~correct
        apart = wrong.astype(int) + (correct & broken) != (wrong | broken)
        exceptions += [f"{name}: example {k}" for k in np.flatnonzero(apart)]
    return without_exception(
        exceptions,
        len(NETWORKS) * len(rows["standard.right"]),
        "of each example the robust error is the natural one or the boundary one, never both",
    )


def _boundary(tables: Tables) -> Decision:
    rows = tables["examples"]
    flippable = {
        name: np.logical_and(np.asarray(rows[f"{name}.right"]), np.asarray(rows[f"{name}.broken"])).tolist()
        for name in NETWORKS
    }
    return pattern(
        Order(greater=flippable["standard"], less=flippable["trades-6"], names=("boundary error: standard", "TRADES")),
        otherwise="The training may be too short at this size.",
    )


def draw(tables: Tables) -> "Figure":
    """Return natural and boundary risk of each network as intervals between attack and certificate."""
    figure = new_figure(6.8, 3.2)
    axes, risks = figure.subplots(), tables["risks"]
    rows = list(zip(risks["network"], risks["risk"], risks["low"], risks["high"], strict=True))
    colours = {"natural": GREY, "boundary": VERMILION, "robust": BLUE}
    for place, name in enumerate(NETWORKS):
        for shift, (_, risk, low, high) in enumerate(row for row in rows if row[0] == name):
            height = place + 0.24 * (shift - 1)
            label = f"{risk} risk" if place == 0 else None
            axes.barh(height, high - low, left=low, height=0.2, color=colours[risk], alpha=0.35)
            axes.plot([low, low], [height - 0.1, height + 0.1], color=colours[risk], linewidth=2.5, label=label)
    axes.set(yticks=range(len(NETWORKS)), yticklabels=NETWORKS.values(), xlim=(-0.02, 1.02))
    axes.set_xlabel("risk (line: by witnesses; bar: left open by certificates)")
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


ITEM = Item(
    name="risk-decomposition",
    section="17.3.1",
    title="Natural and boundary risk",
    claims=(
        Claim(
            name="sum",
            says="Adversarial risk is benign risk plus boundary error.",
            criterion="R_rob = R_nat + R_bdy example by example, without exception.",
            decide=_sum,
            truth="An attack bounds the boundary risk from below, a certificate from above.",
        ),
        Claim(
            name="boundary",
            says="Standard accuracy alone does not reduce adversarial risk; the boundary term must fall too.",
            criterion="The boundary error found of TRADES is lower than of standard training (McNemar).",
            decide=_boundary,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=tuple(NETWORKS),
)
