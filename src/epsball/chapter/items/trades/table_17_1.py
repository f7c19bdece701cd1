"""Table 17.1: all thirteen defences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from epsball.attacks import Attack, attack
from epsball.ball import Ball
from epsball.chapter.claim import Claim, Column, Decision, Tables
from epsball.chapter.evidence import Order, pattern, share
from epsball.chapter.item import Item
from epsball.chapter.items.columns import Examples, stands
from epsball.chapter.laboratory import NETWORKS, Laboratory
from epsball.chapter.networks import PGD
from epsball.chapter.records import remembered
from epsball.chapter.zoo.bases import DataName
from epsball.chapter.zoo.parts import PARTS, REFERENCES, fit_detector, load_part, train_part
from epsball.classifier import Classifier
from epsball.errors import ModelError
from epsball.figures import BLACK, BLUE, GREY, SMALL, VERMILION, new_figure
from epsball.generator_state import preserved
from epsball.masking.zoo import DEFENCES
from epsball.masking.zoo.published.local_dimension import DimensionDetector

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Percent = float | None

EXAMPLES = 100
NAIVE = "pgd,steps=20"
PRIOR = "digits-prior"

WORST = 0.2
"""What an adaptive attack may leave of a defence that is called broken: the largest printed, and a twentieth."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table: accuracies in percent, natural and robust.

    Parameters
    ----------
    name
        The defence.
    chapter
        What the chapter prints.
    source
        What the work it cites prints; None where there is no such row.
    """

    name: str
    chapter: tuple[Percent, Percent]
    source: tuple[Percent, Percent] | None


MASKED = (
    Row(name="BRRG18", chapter=(None, 0.0), source=(None, 0.0)),
    Row(name="MLW18", chapter=(None, 0.0), source=(None, 5.0)),
    Row(name="DAL18", chapter=(None, 0.0), source=(None, 0.0)),
    Row(name="SKN18", chapter=(None, 9.0), source=(None, 9.0)),
    Row(name="NKM17", chapter=(None, 15.0), source=(None, 15.0)),
)
"""Source: Athalye, Carlini and Wagner, ICML 2018, table 1."""

TRAINED = {
    "wsmk18": Row(name="WSMK18", chapter=(27.0, 23.5), source=(27.07, 23.54)),
    PGD: Row(name="MMS18", chapter=(87.0, 46.0), source=(87.30, 47.04)),
    "zslg16": Row(name="ZSLG16", chapter=(94.64, 0.19), source=(94.64, 0.15)),
    "kgb17": Row(name="KGB17", chapter=(95.25, 45.89), source=(85.25, 45.89)),
    "rdv17": Row(name="RDV17", chapter=(88.46, 49.09), source=(95.34, 0.0)),
    "trades-1": Row(name="TRADES 1/lambda=1", chapter=(89.48, 56.43), source=(88.64, 49.14)),
    "trades-2": Row(name="TRADES 1/lambda=2", chapter=(88.64, 55.20), source=None),
    "trades-6": Row(name="TRADES 1/lambda=6", chapter=(84.92, 56.61), source=(84.92, 56.61)),
}
"""Source: Zhang et al., ICML 2019, table 5 (radius .031, FGSM-20)."""

MASKED_RADIUS = {"digits": "linf:0.2", "mnist": "linf:0.2", "fashion": "linf:0.1", "cifar10": "linf:8/255"}
"""At which an undefended network is broken on nearly all examples, so that what stands stands by masking."""


def measure(laboratory: Laboratory) -> Tables:
    """Return, for each row, which examples are right, and which stand under the two attacks of its group."""
    subject: DataName = "cifar10" if laboratory.size != "fast" and laboratory.has("cifar10") else "digits"
    columns: dict[str, Column] = {}
    lines: list[dict[str, float | str | None]] = []
    for row in MASKED:
        data: DataName = "digits" if row.name == "SKN18" else subject  # its prior is one of 17 grey values
        lines.append(_line(row, data, Ball.parse(MASKED_RADIUS[data]), "adaptive"))
        columns |= remembered(ITEM, laboratory, row.name, partial(_of_masked, row, laboratory, data))
    for name, row in TRAINED.items():
        lines.append(_line(row, subject, laboratory.ball("linf", subject), "autoattack"))
        columns |= remembered(ITEM, laboratory, name, partial(_of_trained, row, name, laboratory, subject))
    for line in lines:
        for column in ("natural", "naive", "strong"):
            line[f"ours {column}"] = round(100.0 * float(np.mean(columns[f"{line['defence']}.{column}"])), 2)
    return {"examples": columns, "table": {name: [line[name] for line in lines] for name in lines[0]}}


def _line(row: Row, data: DataName, ball: Ball, attack: str) -> dict[str, float | str | None]:
    natural, robust = row.source or (None, None)
    return {
        "defence": row.name,
        "chapter natural": row.chapter[0],
        "chapter robust": row.chapter[1],
        "source": "no such row" if row.source is None else "",
        "source natural": natural,
        "source robust": robust,
        "data": data,
        "ball": str(ball),
        "attack": attack,
    }


def _of_masked(row: Row, laboratory: Laboratory, data: DataName) -> dict[str, list[bool]]:
    classifier, examples = _masked(row.name, laboratory, data), laboratory.examples(data, first=EXAMPLES)
    adaptive = DEFENCES[row.name].adaptive(classifier)
    return _columns(row, classifier, examples, Ball.parse(MASKED_RADIUS[data]), adaptive, laboratory.seed)


def _of_trained(row: Row, name: str, laboratory: Laboratory, data: DataName) -> dict[str, list[bool]]:
    network, examples = laboratory.network(name, data), laboratory.examples(data, first=EXAMPLES)
    return _columns(row, network, examples, laboratory.ball("linf", data), "autoattack", laboratory.seed)


def _columns(
    row: Row, classifier: Classifier, examples: Examples, ball: Ball, strong: str | Attack, seed: int
) -> dict[str, list[bool]]:
    """Return what is right and accepted, and what stands under PGD-20 and under the strong attack."""
    right = attack(classifier, *examples, ball, method="pgd,steps=1", seed=seed, budget=1).natural > 0
    try:
        naive = stands(classifier, examples, ball, NAIVE, seed=seed)
    except ModelError:  # no gradient reaches the input: PGD finds nothing
        naive = right.tolist()
    found = {"natural": right.tolist(), "naive": naive, "strong": stands(classifier, examples, ball, strong, seed=seed)}
    return {f"{row.name}.{column}": values for column, values in found.items()}


def _masked(name: str, laboratory: Laboratory, data: DataName) -> Classifier:
    """Return a defence that masks gradients around a network trained for it, or around the standard one."""
    standard = laboratory.network("standard", data)
    if name == "BRRG18":
        return DEFENCES[name].build(laboratory.network("thermometer", data))
    if name == "NKM17":
        return DEFENCES[name].build(laboratory.network("cascade", data))
    if name == "DAL18":
        return DEFENCES[name].build(standard)
    part = _detector(laboratory, standard, data) if name == "MLW18" else _prior(laboratory)
    return DEFENCES[name].build(standard, part)


def _detector(laboratory: Laboratory, standard: Classifier, data: DataName) -> nn.Module:
    """Return the detector by local dimension, fitted to training images; it takes seconds and is not kept."""
    x, y = laboratory.examples(data, "train", 5000)
    if not isinstance(standard.network, nn.Sequential):
        raise ModelError(f"the network is a {type(standard.network).__name__}; the detector needs a Sequential.")
    with preserved(laboratory.seed):
        detector = DimensionDetector(standard.network.eval(), torch.zeros(REFERENCES, *x.shape[1:]))
        fit_detector(detector, x, y, ball=MASKED_RADIUS[data])
    return detector.eval()


def _prior(laboratory: Laboratory) -> nn.Module:
    """Return PixelDefend's prior of the digits, trained if it is not there."""
    place = laboratory.out / NETWORKS
    (part,) = (part for part in PARTS if part.name == PRIOR)
    laboratory.trained_once(PRIOR, lambda: train_part(part, laboratory.folders, place, laboratory.seed))
    return load_part(PRIOR, place)


def _masks(tables: Tables) -> Decision:
    rows = tables["examples"]
    orders = [
        Order(
            greater=rows[f"{name}.naive"], less=rows[f"{name}.strong"], names=(f"{name}: PGD-20", "its adaptive attack")
        )
        for name in ("BRRG18", "SKN18")
    ]
    return pattern(*orders, otherwise="PGD on the defended network already breaks it.")


def _broken(tables: Tables) -> Decision:
    rows = tables["examples"]
    left = {row.name: float(np.mean(np.asarray(rows[f"{row.name}.strong"], dtype=bool))) for row in MASKED}
    said = "; ".join(f"{row.name} {share(rows[f'{row.name}.strong'])}, {row.chapter[1]:g}% printed" for row in MASKED)
    standing = [name for name, value in left.items() if value > WORST]
    why = (
        f" Our network, data and radius are others: {', '.join(standing)} keeps more than {WORST:.0%}."
        if standing
        else ""
    )
    return Decision(verdict="differs" if standing else "pattern", sentence=f"left by its adaptive attack: {said}.{why}")


def _better(tables: Tables) -> Decision:
    rows = tables["examples"]
    return pattern(
        *(
            Order(
                greater=rows["TRADES 1/lambda=6.strong"],
                less=rows[f"{other}.strong"],
                names=("stands under AutoAttack: TRADES 1/lambda=6", other),
            )
            for other in ("ZSLG16", "KGB17", "RDV17", "WSMK18")
        ),
        otherwise="One of them keeps more on this data, or too few examples were measured to tell.",
    )


def _misprints(*names: str) -> Callable[[Tables], Decision]:
    """Return the decision whether rows are printed otherwise than in the work they cite."""

    def decide(tables: Tables) -> Decision:
        table, found = tables["table"], []
        for name in names:
            at = list(table["defence"]).index(name)
            printed = [table[f"chapter {column}"][at] for column in ("natural", "robust")]
            source = [table[f"source {column}"][at] for column in ("natural", "robust")]
            if table["source"][at]:
                found.append(f"{name}: printed {printed[0]} / {printed[1]}, the paper has no such row")
            elif printed != source:
                found.append(f"{name}: printed {_pair(printed)}, the paper {_pair(source)}")
        if not found:
            return Decision(verdict="reproduced", sentence="the rows are printed as in the works they cite.")
        return Decision(verdict="misprinted", sentence="; ".join(found) + ".")

    return decide


def _pair(values: Sequence[object]) -> str:
    return " / ".join("none" if value is None else str(value) for value in values)


def draw(tables: Tables) -> "Figure":
    """Return each row: what the chapter prints, what the paper does, and ours."""
    table = tables["table"]
    figure = new_figure(8.6, 5.2)
    axes = figure.subplots()
    for place in range(len(table["defence"])):
        natural, naive, strong = (float(table[f"ours {column}"][place]) for column in ("natural", "naive", "strong"))
        axes.plot([strong, natural], [place, place], color=GREY, linewidth=2, alpha=0.4, zorder=1)
        first = place == 0
        axes.plot(natural, place, "s", color=GREY, label="ours, natural" if first else None)
        axes.plot(naive, place, "o", mfc="none", color=BLACK, label="ours, PGD-20" if first else None)
        axes.plot(strong, place, "o", color=BLACK, label="ours, adaptive or AutoAttack" if first else None)
        marks = (("chapter", "x", VERMILION, -0.18), ("source", "+", BLUE, 0.18))
        for column, mark, colour, shift in marks:
            value = table[f"{column} robust"][place]
            label = {"chapter": "chapter, robust", "source": "its source, robust"}[column] if first else None
            axes.plot(np.nan if value is None else value, place + shift, mark, color=colour, markersize=7, label=label)
        note = f"{table['data'][place]}, {table['ball'][place]}"
        axes.annotate(note, (101, place), va="center", fontsize=SMALL, color=GREY, annotation_clip=False)
    axes.axhline(len(MASKED) - 0.5, color=GREY, linewidth=0.6)
    axes.set(
        yticks=range(len(table["defence"])), yticklabels=table["defence"], xlim=(-2, 100), xlabel="accuracy in percent"
    )
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=SMALL, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


ITEM = Item(
    name="table-17.1",
    section="17.3.5",
    title="Thirteen defences",
    claims=(
        Claim(
            name="masking",
            says="Defences by gradient masking only look robust.",
            criterion="Of BRRG18 and SKN18 fewer examples stand under the adaptive attack than under PGD-20 (McNemar).",
            decide=_masks,
        ),
        Claim(
            name="broken",
            says="ACW18 leaves 0, 0, 0, 9 and 15% of five defences.",
            criterion=f"The attack that knows each leaves at most {WORST:.0%} of every one.",
            decide=_broken,
            source="ACW18, table 1: BRRG18 0, MLW18 5, DAL18 0, SKN18 9, NKM17 15 (at .015).",
        ),
        Claim(
            name="trades",
            says="TRADES is substantially more robust than earlier defences.",
            criterion="More examples stand under AutoAttack with TRADES at 1/lambda = 6 than with ZSLG16, KGB17, RDV17 "
            "and WSMK18 (McNemar).",
            decide=_better,
            source="TRADES 56.61, WSMK18 23.54, ZSLG16 .15, KGB17 45.89, RDV17 0 under FGSM-20 at .031; AutoAttack "
            "leaves the TRADES model 53.08.",
        ),
        *(
            Claim(
                name=f"row {name}",
                says=f"The table's row {name}.",
                criterion="Misprinted if the work cited has other figures.",
                decide=_misprints(name),
            )
            for name in ("MLW18", "KGB17", "RDV17", "ZSLG16", "TRADES 1/lambda=1", "TRADES 1/lambda=2")
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("standard", "thermometer", "cascade", *TRAINED),
)
