"""17.1.3 and 17.4.4: what an epoch of each training costs."""

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball import models, training
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import DEFENCES, KS, base
from epsball.figures import BLUE, SMALL, new_figure
from epsball.generator_state import preserved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAININGS = ("standard", "fgsm", *(f"pgd-{k}" for k in KS), "trades-6", "ibp")
ROUNDS = 8


def measure(laboratory: Laboratory) -> Tables:
    """Return the CPU time of an epoch of each training, interleaved, each in the same rounds."""
    x, y = laboratory.examples(laboratory.subject, split="train", first=1000)
    rows: dict[str, list[float]] = {name: [] for name in TRAININGS}
    for number in range(ROUNDS):
        for name in TRAININGS:
            one = base(name, laboratory.subject, laboratory.size)
            with preserved(number):
                module = models.load(one.model, shape=tuple(x.shape[1:]), classes=10).module
            recipe = training.Recipe(epochs=1, batch_size=64, holdout=0.01, optimiser="adam", lr=1e-3)
            objective = training.resolve(DEFENCES[name][0], laboratory.ball())
            begun = time.process_time()
            training.train(module, (x, y), objective=objective, recipe=recipe)
            rows[name].append(time.process_time() - begun)
    return {"seconds": rows, "threads": {"threads": [torch.get_num_threads()]}}


def _expensive(tables: Tables) -> Decision:
    rows = tables["seconds"]
    orders = [
        Order(greater=rows[f"pgd-{more}"], less=rows[f"pgd-{fewer}"], names=(f"seconds: pgd-{more}", f"pgd-{fewer}"))
        for fewer, more in pairwise(KS)
    ]
    first = Order(greater=rows[f"pgd-{KS[0]}"], less=rows["standard"], names=(f"seconds: pgd-{KS[0]}", "standard"))
    return pattern(first, *orders, otherwise="Times of a busy machine scatter; run it on idle cores.")


def _bounds(tables: Tables) -> Decision:
    rows = tables["seconds"]
    return pattern(
        Order(greater=rows["ibp"], less=rows["standard"], names=("seconds: ibp", "standard")),
        otherwise="Times of a busy machine scatter; run it on idle cores.",
    )


def draw(tables: Tables) -> "Figure":
    """Return the median time of an epoch in epochs of standard training."""
    figure = new_figure(6.4, 3.4)
    axes, rows = figure.subplots(), tables["seconds"]
    unit = float(np.median(np.asarray(rows["standard"], dtype=float)))
    medians = [float(np.median(np.asarray(rows[name], dtype=float))) / unit for name in TRAININGS]
    axes.barh(range(len(TRAININGS)), medians, color=BLUE, height=0.66)
    for place, value in enumerate(medians):
        axes.annotate(f"{value:.1f}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=SMALL)
    axes.set(
        yticks=range(len(TRAININGS)),
        yticklabels=TRAININGS,
        xlabel="CPU time of an epoch, in epochs of standard training",
    )
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


ITEM = Item(
    name="cost",
    section="17.1.3",
    title="The cost of an epoch",
    claims=(
        Claim(
            name="adversarial",
            says="Adversarial training is expensive because of the iterative inner maximisation.",
            criterion=f"Each step more makes an epoch slower, in {ROUNDS} interleaved rounds (sign test).",
            decide=_expensive,
        ),
        Claim(
            name="bounds",
            says="Computing bounds during training raises the cost of each iteration (17.4.4).",
            criterion="An epoch of IBP training takes longer than a standard one (sign test).",
            decide=_bounds,
        ),
    ),
    measure=measure,
    draw=draw,
)
