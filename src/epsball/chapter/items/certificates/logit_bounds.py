"""17.4.2: the bounds [f_min, f_max] of one image's logits by each method."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball.certificates import METHODS, REAL, Domain, Problem
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import without_exception
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.figures import BLACK, SMALL, line_style, new_figure
from epsball.graph import capture
from epsball.randomness import Keys

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = ("interval", "lipschitz", "wong-kolter", "crown", "optimised", "lp")
SAMPLES = 2000


def measure(laboratory: Laboratory) -> Tables:
    """Return the bounds of the first test image's logits by each method, and the range over points of its ball."""
    x, y = laboratory.examples(laboratory.subject, first=1)
    network, ball = laboratory.network("ibp"), laboratory.ball()
    rows = torch.eye(10, dtype=torch.float64)
    problem = Problem(
        graph=capture(network.network, tuple(x.shape[1:])),
        domain=Domain.of(ball, x),
        specification=torch.cat([rows, -rows])[None],  # ten logits from below, then from above
        arithmetic=REAL,
    )
    table: dict[str, list[float | int | str]] = {"method": [], "class": [], "low": [], "high": []}
    for name in SHOWN:
        found = METHODS[name](problem).rows[0]
        _extend(table, name, found[:10], -found[10:])
    points = ball.sample(x.repeat(SAMPLES, 1, 1, 1), Keys.of_positions(torch.arange(SAMPLES), laboratory.seed))
    logits = network.logits(points).double()
    _extend(table, "seen", logits.amin(0), logits.amax(0))
    return {"bounds": table, "image": {"label": [int(y)], "samples": [SAMPLES]}}


def _extend(table: dict[str, list[float | int | str]], name: str, low: torch.Tensor, high: torch.Tensor) -> None:
    for label, ends in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        for column, value in zip(table.values(), (name, label, *ends), strict=True):
            column.append(value)


def _by_method(tables: Tables) -> dict[str, np.ndarray]:
    """Return (10, 2) ends by method."""
    table = tables["bounds"]
    rows = list(zip(*(table[column] for column in ("method", "low", "high")), strict=True))
    return {name: np.array([row[1:] for row in rows if row[0] == name], dtype=float) for name in (*SHOWN, "seen")}


def _contain(tables: Tables) -> Decision:
    found = _by_method(tables)
    seen = found.pop("seen")
    # The network runs in float32; its logits round by less than 1e-4.
    out = [
        f"{name}, class {label}"
        for name, ends in found.items()
        for label in range(10)
        if ends[label, 0] > seen[label, 0] + 1e-4 or ends[label, 1] < seen[label, 1] - 1e-4
    ]
    return without_exception(out, 10 * len(found), f"the bounds hold what {SAMPLES} points of the ball give")


def _widths(tables: Tables) -> Decision:
    widths = {name: float(np.mean(ends[:, 1] - ends[:, 0])) for name, ends in _by_method(tables).items()}
    tighter = widths["lp"] <= widths["optimised"] + 1e-9 <= widths["crown"] + 2e-9
    said = ", ".join(f"{name} {width:.3f}" for name, width in widths.items())
    why = "" if tighter else " Slopes of alpha-CROWN are optimised for a few steps only, and may end above CROWN's."
    return Decision(verdict="pattern" if tighter else "differs", sentence=f"mean width over ten logits: {said}.{why}")


def draw(tables: Tables) -> "Figure":
    """Return the intervals of all logits by method, and what was seen."""
    figure = new_figure(8.8, 4.2)
    axes, found = figure.subplots(), _by_method(tables)
    for number, name in enumerate(SHOWN):
        places = np.arange(10) + 0.12 * (number - (len(SHOWN) - 1) / 2)
        colour = line_style(number)["color"]
        axes.vlines(places, found[name][:, 0], found[name][:, 1], color=colour, linewidth=3.5, label=name)
    seen = found["seen"]
    for label in range(10):
        axes.fill_between([label - 0.42, label + 0.42], *seen[label], color=BLACK, alpha=0.25, linewidth=0)
    axes.fill_between([], [], [], color=BLACK, alpha=0.25, label=f"{SAMPLES} points of the ball")
    tight = np.concatenate([found[name] for name in ("crown", "lp", "seen")])
    reach = float(tight.max() - tight.min())
    axes.set(xticks=range(10), xlabel="class", ylabel="logit over the ball")
    axes.set_ylim(float(tight.min()) - 0.6 * reach, float(tight.max()) + 0.6 * reach)
    axes.legend(frameon=False, fontsize=SMALL, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


ITEM = Item(
    name="logit-bounds",
    section="17.4.2",
    title="The bounds of one image's logits",
    claims=(
        Claim(
            name="hold",
            says="[f_min, f_max] are certified bounds of the logits at any point of N(x).",
            criterion="The bounds of every method contain the logits of 2,000 points of the ball.",
            decide=_contain,
        ),
        Claim(
            name="tightness",
            says="Relaxations differ in tightness.",
            criterion="On average over the logits the linear program is at least as tight as alpha-CROWN, it as CROWN.",
            decide=_widths,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("ibp",),
)
