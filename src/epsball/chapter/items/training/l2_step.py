"""17.1.1, remarks: the sign is not the direction of steepest ascent in l2."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from epsball.attacks import Attack
from epsball.attacks.engine.query import Query
from epsball.attacks.losses import cross_entropy
from epsball.attacks.parts.objective import of_labels
from epsball.ball import Ball
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern, without_exception
from epsball.chapter.item import Item
from epsball.chapter.items.columns import least_margins
from epsball.chapter.laboratory import Laboratory
from epsball.figures import BLACK, GREY, new_figure
from epsball.randomness import Keys

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 10


@dataclass(frozen=True, kw_only=True)
class SignSteps(Attack):
    """PGD that steps along the sign of the gradient, scaled to the same l2 length, whatever the norm of the ball."""

    name: ClassVar[str] = "sign-steps"
    steps: int = STEPS

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        query.begin(0)
        length = 2.5 * float(ball.radius) / self.steps
        points = query.neighbourhood.sample(keys[query.index].derive(0))
        loss = of_labels(query, cross_entropy)
        for _ in range(self.steps):
            _, _, (gradient,) = query.gradient(points, [loss])
            if query.going_on is not None:
                points, gradient = points[query.going_on], gradient[query.going_on]
            sign = gradient.sign().flatten(1)
            unit = (sign / sign.norm(dim=1, keepdim=True).clamp_min(1.0)).view_as(points)
            points = query.neighbourhood.project(points + length * unit)
        query.logits(points)


def measure(laboratory: Laboratory) -> Tables:
    """Return the least margins reached in the l2 ball by either step, and the norm of the gradient's own step."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=None, default=1000))
    ball, rows = laboratory.ball("l2"), {}
    for name in ("standard", "pgd-l2"):
        network = laboratory.network(name)
        rows[f"{name}.normalised"] = least_margins(network, examples, ball, f"pgd,steps={STEPS}", seed=laboratory.seed)
        rows[f"{name}.sign"] = least_margins(network, examples, ball, SignSteps(), seed=laboratory.seed)
    x = examples[0][:200]
    moved = ball.project(x + 10.0 * float(ball.radius) * x.sub(0.5).sign(), x)
    projection = {"distance": ball.distance(moved, x).tolist(), "inside": ball.contains(moved, x).tolist()}
    return {"margins": rows, "projection": projection}


def _worse(tables: Tables) -> Decision:
    rows = tables["margins"]
    return pattern(
        *(
            Order(
                greater=rows[f"{n}.sign"],
                less=rows[f"{n}.normalised"],
                names=(f"{n}: least margin by sign steps", "normalised"),
            )
            for n in ("standard", "pgd-l2")
        ),
        otherwise="On this network both directions end at the same points.",
    )


def _projection(tables: Tables) -> Decision:
    inside = tables["projection"]["inside"]
    return without_exception(
        [k for k, one in enumerate(inside) if not one], len(inside), "projected points lie in the l2 ball"
    )


def draw(tables: Tables) -> "Figure":
    """Return the margins of both steps against each other."""
    figure = new_figure(9.0, 4.0)
    for axes, name in zip(figure.subplots(1, 2), ("standard", "pgd-l2"), strict=True):
        normalised, sign = tables["margins"][f"{name}.normalised"], tables["margins"][f"{name}.sign"]
        axes.scatter(normalised, sign, s=8, color=BLACK, alpha=0.4)
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--")
        axes.set(xlabel="least margin by normalised steps", ylabel="by sign steps of the same length")
        axes.set_title({"standard": "standard training", "pgd-l2": "PGD training, l2"}[name], fontsize=10)
    return figure


ITEM = Item(
    name="l2-step",
    section="17.1.1",
    title="Sign steps in l2",
    claims=(
        Claim(
            name="sign",
            says="The sign update is specific to linf and does not approximate l2 ascent.",
            criterion="Sign steps of the same l2 length end at higher margins, by a sign test, on both networks.",
            decide=_worse,
        ),
        Claim(
            name="projection",
            says="In l2 the projection goes onto the Euclidean ball around x.",
            criterion="Every projected point lies in the ball, decided exactly.",
            decide=_projection,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("standard", "pgd-l2"),
)
