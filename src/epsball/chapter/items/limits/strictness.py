"""17.6.2: whether overlapping neighbourhoods alone raise the risk."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import without_exception
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.figures import BLACK, BLUE, GREY, VERMILION, new_figure
from epsball.limits import optimal_risk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS, LABELS = (0.0, 1.0, 0.0, 10.0), (0, 0, 1, 1)
"""P0 = {0: 1/2, 1: 1/2} and P1 = {0: 1/2, 10: 1/2}: the balls around 0 and 1 meet at radius 1/2."""

RADIUS = 0.5
PROBLEMS = 60


def measure(laboratory: Laboratory) -> Tables:
    """Return the risks of the counterexample, and of random problems on few points, without and with an adversary."""
    draws = np.random.default_rng(laboratory.seed)
    rows: dict[str, list[float | int | bool]] = {"conflicts": [], "benign": [], "adversarial": []}
    for _ in range(PROBLEMS):
        x, y = draws.integers(0, 6, size=(8, 1)).astype(np.float64), np.arange(8) % 2
        for name, value in _risks(x, y).items():
            rows[name].append(value)
    example = _risks(np.array(POINTS)[:, None], np.array(LABELS))
    return {"counterexample": {name: [value] for name, value in example.items()}, "random": rows}


def _risks(x: np.ndarray, y: np.ndarray) -> dict[str, float | int]:
    """Return how many pairs of unequal points of different class conflict, and L* at radius 0 and at the radius."""
    near = (np.abs(x - x.T) <= 2.0 * RADIUS) & (x != x.T) & (y[:, None] < y)
    limits = optimal_risk(x, y, norm="linf", radii=[0, RADIUS])
    return {
        "conflicts": int(near.sum()),
        "benign": limits.at(0).risk.value,
        "adversarial": limits.at(RADIUS).risk.value,
    }


def _inequality(tables: Tables) -> Decision:
    benign, adversarial = (np.asarray(tables["random"][name], dtype=np.float64) for name in ("benign", "adversarial"))
    below = np.flatnonzero(adversarial < benign - 1e-12).tolist()
    return without_exception(below, len(benign), "the adversarial optimum is at least the benign one")


def _strict(tables: Tables) -> Decision:
    example = {name: column[0] for name, column in tables["counterexample"].items()}
    benign, adversarial, conflicts = (
        np.asarray(tables["random"][name]) for name in ("benign", "adversarial", "conflicts")
    )
    equal = (conflicts > 0) & (np.abs(adversarial - benign) <= 1e-12)
    if example["conflicts"] and example["benign"] == example["adversarial"]:
        return Decision(
            verdict="false as stated",
            sentence=(
                "P0 = {0: 1/2, 1: 1/2}, P1 = {0: 1/2, 10: 1/2}, radius 1/2: balls around 0 and 1 meet, and the optimal "
                f"risk is {example['benign']:g} without and {example['adversarial']:g} with the adversary. Of "
                f"{int((conflicts > 0).sum())} random problems with such an overlap {int(equal.sum())} are equal too."
            ),
        )
    return Decision(verdict="pattern", sentence="the counterexample's risk rose with the adversary.")


def draw(tables: Tables) -> "Figure":
    """Return the counterexample on the line, and both risks of the random problems."""
    figure = new_figure(9.6, 3.4)
    line, scatter = figure.subplots(1, 2)
    for label, colour in ((0, BLUE), (1, VERMILION)):
        height = 0.15 - 0.3 * label
        places = [x for x, y in zip(POINTS, LABELS, strict=True) if y == label]
        line.errorbar(
            places, [height] * len(places), xerr=RADIUS, fmt="o", color=colour, capsize=3, label=f"class {label}"
        )
    line.axvline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    line.set(xlabel="x (bars: the balls of radius 1/2)", ylim=(-0.6, 0.6), yticks=[])
    benign, adversarial = tables["counterexample"]["benign"][0], tables["counterexample"]["adversarial"][0]
    line.set_title(f"L* = {benign:g} without and {adversarial:g} with the adversary", fontsize=10)
    line.legend(frameon=False, ncols=2, loc="upper right")
    random = tables["random"]
    scatter.plot([0, 0.5], [0, 0.5], color=GREY, linewidth=0.8, linestyle="--", label="equal")
    scatter.scatter(
        random["benign"], random["adversarial"], s=18, alpha=0.4, color=BLACK, label=f"{PROBLEMS} random problems"
    )
    scatter.set(xlabel="optimal risk without an adversary", ylabel="with the adversary")
    scatter.legend(frameon=False, loc="lower right")
    return figure


ITEM = Item(
    name="strictness",
    section="17.6.2",
    title="Overlap of neighbourhoods and the optimal risk",
    claims=(
        Claim(
            name="inequality",
            says="The optimal adversarial risk is at least the optimal benign risk.",
            criterion=f"No exception among {PROBLEMS} random problems.",
            decide=_inequality,
        ),
        Claim(
            name="strict",
            says="The inequality is strict whenever neighbourhoods of different classes overlap.",
            criterion="False if one problem with an overlap has equal risks.",
            decide=_strict,
            truth="It is L*(eps) - L*(0) that says what the adversary adds; where the overlapping mass is lost anyway, "
            "it adds nothing.",
        ),
    ),
    measure=measure,
    draw=draw,
)
