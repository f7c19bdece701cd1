"""17.6.3: two Gaussians on the line."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import without_exception
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.limits.gaussian import UnivariateGaussian, gaussian_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL = UnivariateGaussian(means=(-1.0, 1.0))
HALF = 1.0
"""Half the distance of the means."""

RADII = np.linspace(0.0, 1.5, 61)
SHOWN = 0.5
CLOSE = 1e-9
"""Two computations of one number, each to about 1e-15, are one; a risk off by more is another."""


def measure(laboratory: Laboratory) -> Tables:
    """Return, over the radius, the chapter's formula, the optimum, the best threshold of a grid and a simulation."""
    grid = np.linspace(-8.0, 8.0, 160_001)
    draws = np.random.default_rng(laboratory.seed)
    count = laboratory.pick(fast=200_000, default=2_000_000)
    x, y = draws.normal(size=count), draws.integers(2, size=count)
    x += np.where(y == 1, MODEL.means[1], MODEL.means[0])
    optima = [MODEL.optimum(float(radius)) for radius in RADII]
    scans = [MODEL.threshold_risk(grid, float(radius)) for radius in RADII]
    simulated = [
        float(np.mean(np.where(y == 1, optimum.rule.errs(x, 1, radius), optimum.rule.errs(x, 0, radius))))
        for optimum, radius in zip(optima, RADII, strict=True)
    ]
    return {
        "risk": {
            "radius": RADII.tolist(),
            "chapter": ndtr(RADII - HALF).tolist(),
            "optimal": [optimum.risk for optimum in optima],
            "best_threshold_risk": [float(scan.min()) for scan in scans],
            "best_threshold": [float(grid[scan.argmin()]) for scan in scans],
            "simulated": simulated,
            "draws": [count] * len(RADII),
        }
    }


def _within(tables: Tables) -> Decision:
    risk = {name: np.asarray(column, dtype=np.float64) for name, column in tables["risk"].items()}
    inside = risk["radius"] < HALF
    gap = np.abs(risk["chapter"] - risk["optimal"])[inside]
    exceptions = risk["radius"][inside][gap > CLOSE].tolist()
    return without_exception(exceptions, int(inside.sum()), "the formula is the optimum at radii below half the gap")


def _threshold(tables: Tables) -> Decision:
    risk = {name: np.asarray(column, dtype=np.float64) for name, column in tables["risk"].items()}
    inside = risk["radius"] < HALF
    moved = risk["radius"][inside][np.abs(risk["best_threshold"][inside]) > 1e-4].tolist()
    return without_exception(moved, int(inside.sum()), "the best threshold of a grid is the midpoint, to its spacing")


def _beyond(tables: Tables) -> Decision:
    risk = {name: np.asarray(column, dtype=np.float64) for name, column in tables["risk"].items()}
    beyond = risk["radius"] > HALF
    wrong = beyond & (risk["chapter"] - risk["optimal"] > CLOSE)
    if not wrong.any():
        return Decision(
            verdict="differs",
            sentence="no radius beyond half the gap was found where the formula is off; the grid may be too coarse.",
        )
    last = int(np.flatnonzero(wrong)[-1])
    return Decision(
        verdict="false as stated",
        sentence=(
            f"at all {int(wrong.sum())} radii looked at beyond half the gap of the means a constant rule has a lower "
            f"risk than the formula: at {risk['radius'][last]:g} the formula gives {risk['chapter'][last]:.4f}, "
            f"the optimum is {risk['optimal'][last]:.4f}."
        ),
    )


def _simulation(tables: Tables) -> Decision:
    risk = {name: np.asarray(column, dtype=np.float64) for name, column in tables["risk"].items()}
    # Hoeffding over all radii at once, error 1e-6: no chance of a false alarm worth naming.
    reach = np.sqrt(np.log(2.0 * len(RADII) / 1e-6) / (2.0 * risk["draws"]))
    off = risk["radius"][np.abs(risk["simulated"] - risk["optimal"]) > reach].tolist()
    return without_exception(
        off, len(RADII), f"the simulated risk of the optimal rule is the computed one to {float(reach[0]):.4f}"
    )


def draw(tables: Tables) -> "Figure":
    """Return what the optimal rules lose, the risk of every threshold, and the optimum over the radius."""
    return gaussian_curve(MODEL, [float(radius) for radius in tables["risk"]["radius"] if radius is not None]).plot(
        SHOWN
    )


ITEM = Item(
    name="gaussian",
    section="17.6.3",
    title="Two Gaussians on the line",
    claims=(
        Claim(
            name="formula",
            says="The optimal adversarial risk is Phi((eps - (mu1 - mu0)/2) / sigma).",
            criterion=f"At every radius below half the gap the optimum over all rules agrees to {CLOSE:g}.",
            decide=_within,
        ),
        Claim(
            name="threshold",
            says="The optimal threshold stays at the midpoint.",
            criterion="At every radius below half the gap the best of 160,001 thresholds is the midpoint, to 1e-4.",
            decide=_threshold,
        ),
        Claim(
            name="beyond",
            says="The formula is stated for every radius.",
            criterion="False if at a radius beyond half the gap a rule has a lower risk than the formula.",
            decide=_beyond,
            truth="L* = Phi(-((mu1 - mu0)/2 - eps)_+ / sigma): beyond half the gap the midpoint is a maximum of the "
            "risk, and a constant rule is optimal.",
        ),
        Claim(
            name="events",
            says="Label 1 errs where X <= t + eps, label 0 where X >= t - eps.",
            criterion="Draws from the model, judged point by point, err as often as computed (Hoeffding, 1e-6).",
            decide=_simulation,
        ),
    ),
    measure=measure,
    draw=draw,
)
