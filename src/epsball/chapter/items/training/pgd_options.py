"""17.1.1 and 17.1.4: what PGD's options do: steps, step size, start, restarts."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.items.columns import least_margins
from epsball.chapter.items.drawing import draw_share_curves
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import PGD
from epsball.figures import SMALL, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = (1, 2, 5, 10, 20, 50)
RESTARTS = (1, 2, 5, 10, 20)
SIZES = {"radius/K": "radius/steps", "2.5 radius/K": "2.5*radius/steps", "radius": "radius"}
STARTS = {"none": "from the example", "uniform": "uniform", "gaussian": "Gaussian"}


SHORT = "K steps of radius/K add up to one radius, half the ball's width: a random start does not reach its far side."


def measure(laboratory: Laboratory) -> Tables:
    """Return the least margins that PGD reaches with each option, the others as by default."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=None, default=1000))
    network, ball = laboratory.network(PGD), laboratory.ball()
    methods = {
        **{f"steps.{k}": f"pgd,steps={k}" for k in STEPS},
        **{f"restarts.{r}": f"pgd,steps=5,restarts={r}" for r in RESTARTS},
        **{f"size.{name}": f"pgd,steps=10,step_size={rule}" for name, rule in SIZES.items()},
        **{f"start.{name}": f"pgd,steps=10,start={name}" for name in STARTS},
    }
    return {
        "margins": {
            name: least_margins(network, examples, ball, method, seed=laboratory.seed)
            for name, method in methods.items()
        }
    }


def _lower(tables: Tables, weak: str, strong: str, names: tuple[str, str]) -> Order:
    return Order(greater=tables["margins"][weak], less=tables["margins"][strong], names=names)


def _steps(tables: Tables) -> Decision:
    first, last = f"steps.{STEPS[0]}", f"steps.{STEPS[-1]}"
    return pattern(
        _lower(tables, first, last, ("least margin after 1 step", f"after {STEPS[-1]}")),
        otherwise="One step already reaches what many do.",
    )


def _restarts(tables: Tables) -> Decision:
    return pattern(
        _lower(tables, "restarts.1", f"restarts.{RESTARTS[-1]}", ("least margin of 1 start", f"of {RESTARTS[-1]}")),
        otherwise="All starts end at points alike.",
    )


def _size(tables: Tables) -> Decision:
    crossed = _lower(tables, "size.radius/K", "size.2.5 radius/K", ("least margin with radius/K", "with 2.5 radius/K"))
    if crossed.holds:
        return Decision(verdict="differs", sentence=f"{crossed}. {SHORT}")
    return Decision(verdict="pattern", sentence=f"no worse than steps 2.5 times as long: {crossed}.")


def _start(tables: Tables) -> Decision:
    return pattern(
        _lower(tables, "start.none", "start.uniform", ("least margin from the example", "from a uniform start")),
        otherwise="Where the gradient at the example is not masked, a random start leaves no plateau; it only begins "
        "elsewhere.",
    )


def draw(tables: Tables) -> "Figure":
    """Return accuracy under attack over steps and restarts, and by step size and start."""
    margins = {name: np.asarray(column, dtype=np.float64) > 0 for name, column in tables["margins"].items()}
    figure = new_figure(9.6, 3.6)
    over, beside = figure.subplots(1, 2, sharey=True)
    draw_share_curves(over, STEPS, {"steps K": [margins[f"steps.{k}"].tolist() for k in STEPS]})
    draw_share_curves(over, RESTARTS, {"restarts (K = 5)": [margins[f"restarts.{r}"].tolist() for r in RESTARTS]}, 1)
    over.set(xscale="log", xlabel="steps K, or restarts", ylabel="accuracy under attack")
    over.legend(frameon=False, fontsize=SMALL)
    options = [*(f"size.{name}" for name in SIZES), *(f"start.{name}" for name in STARTS)]
    draw_share_curves(beside, range(len(options)), {"": [margins[name].tolist() for name in options]})
    beside.lines[0].set_linestyle("none")
    labels = [*(f"step\n{name}" for name in SIZES), *(f"start\n{name}" for name in STARTS)]
    beside.set(xticks=range(len(options)), xticklabels=labels)
    beside.tick_params(axis="x", labelsize=SMALL)
    low = min(float(np.mean(column)) for column in margins.values())
    over.set_ylim(max(0.0, low - 0.1), min(1.0, max(float(np.mean(column)) for column in margins.values()) + 0.1))
    return figure


ITEM = Item(
    name="pgd-options",
    section="17.1.1",
    title="Steps, step size, start and restarts of PGD",
    claims=(
        Claim(
            name="steps",
            says="PGD approximates the inner maximum, the better the more steps.",
            criterion="50 steps reach lower margins than one, by a sign test over the examples.",
            decide=_steps,
        ),
        Claim(
            name="restarts",
            says="Several random restarts improve the chance of finding a point of high loss.",
            criterion="The best of 20 starts is lower than one, by a sign test.",
            decide=_restarts,
        ),
        Claim(
            name="step-size",
            says="A typical step size is eps/K.",
            criterion="Differs if steps of 2.5 eps/K reach lower margins, by a sign test.",
            decide=_size,
            truth="From a random start K steps of eps/K cannot cross the ball, which is 2 eps wide.",
            source="Madry et al. (2018) use 2.5 eps/K.",
        ),
        Claim(
            name="start",
            says="Non-zero random starts avoid local maxima and cover the perturbation set better.",
            criterion="A uniform start reaches lower margins than the example itself, by a sign test.",
            decide=_start,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=(PGD,),
)
