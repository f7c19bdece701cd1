"""17.4.1 and 17.4.2: stable against certified, and the chapter's criterion against folded margins."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.certificates import certify
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern, without_exception
from epsball.chapter.item import Item
from epsball.chapter.items.columns import right
from epsball.chapter.items.drawing import draw_shares
from epsball.chapter.laboratory import Laboratory
from epsball.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def measure(laboratory: Laboratory) -> Tables:
    """Return which examples are right, stable, certified, and stable by the chapter's criterion."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=300, default=2000))
    network = laboratory.network("ibp")
    found = certify(network, *examples, laboratory.ball(), method="crown")
    columns = {name: getattr(found, name).tolist() for name in ("stable", "certified", "criterion")}
    return {"examples": {"right": right(network, examples), **columns}}


def _stable(tables: Tables) -> Decision:
    rows = {name: np.asarray(column, dtype=bool) for name, column in tables["examples"].items()}
    apart = np.flatnonzero(rows["certified"] != (rows["stable"] & rows["right"])).tolist()
    decision = without_exception(apart, len(rows["right"]), "certified is stable and right")
    wrong = int((rows["stable"] & ~rows["right"]).sum())
    return Decision(
        verdict=decision.verdict,
        sentence=f"{decision.sentence} {wrong} examples are stable and wrong: they are not certified.",
    )


def _criterion(tables: Tables) -> Decision:
    rows = {name: np.asarray(column, dtype=bool) for name, column in tables["examples"].items()}
    apart = np.flatnonzero(rows["criterion"] & ~rows["stable"]).tolist()
    law = "f_min,y > max f_max,j implies a positive lower bound of the margin"
    decision = without_exception(apart, len(rows["right"]), law)
    why = " There the logits' boxes, of intervals and CROWN together, are the better bound." if apart else ""
    return Decision(verdict=decision.verdict, sentence=decision.sentence + why)


def _looser(tables: Tables) -> Decision:
    rows = tables["examples"]
    return pattern(
        Order(
            greater=rows["stable"],
            less=rows["criterion"],
            names=("stable by folded margins", "by the chapter's criterion"),
        ),
        otherwise="The bounds of this network are so wide, or so tight, that both agree.",
    )


def draw(tables: Tables) -> "Figure":
    """Return the four shares."""
    figure = new_figure(6.4, 2.8)
    names = {
        "right": "natural accuracy",
        "stable": "stable",
        "certified": "certified",
        "criterion": "stable by the chapter's criterion",
    }
    draw_shares(
        figure.subplots(), {words: tables["examples"][name] for name, words in names.items()}, "share of examples"
    )
    return figure


ITEM = Item(
    name="criteria",
    section="17.4.1",
    title="Stable, certified, and the chapter's criterion",
    claims=(
        Claim(
            name="stable",
            says="h is certifiably robust at x if h(x') = h(x) on all of N(x).",
            criterion="That is stability; certified accuracy also needs the right class: no exception.",
            decide=_stable,
        ),
        Claim(
            name="sufficient",
            says="If the lower bound of the true logit lies above all upper bounds, the class is invariant.",
            criterion="Whatever the criterion accepts, the bound of the margin accepts: no exception.",
            decide=_criterion,
        ),
        Claim(
            name="looser",
            says="The criterion is stated as what certifies a prediction.",
            criterion="Bounding the differences z_y - z_j accepts more examples (McNemar).",
            decide=_looser,
            truth="The criterion is sufficient, not necessary; differences folded into the last layer are tighter.",
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("ibp",),
)
