"""17.5: Figure 17.2 and the three claims of 17.5.1, on small residual networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball import training
from epsball.chapter.claim import Claim, Decision, Table, Tables
from epsball.chapter.item import Item
from epsball.chapter.items.columns import Examples
from epsball.chapter.items.similarity.residual_network import ResidualNetwork
from epsball.chapter.laboratory import NETWORKS, Laboratory
from epsball.chapter.zoo.bases import DataName
from epsball.classifier import Classifier
from epsball.figures import SEQUENTIAL, SMALL, new_figure
from epsball.generator_state import preserved
from epsball.similarity import cka

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED = {
    "standard": ("standard", 0),
    "twin": ("standard", 1),
    "robust": ("pgd,steps=3", 0),
    "robust twin": ("pgd,steps=3", 1),
}
"""Two networks of each kind, from two seeds: what differs between twins is chance."""

PAIRS = (
    ("standard", "standard"),
    ("robust", "robust"),
    ("standard", "robust"),
    ("standard", "twin"),
    ("robust", "robust twin"),
)
CHANCE = (
    "these networks are small and were trained for a few epochs; a second seed changes them as much as the adversary."
)

LAYERS = ("conv1", "layer*_?", "linear")


def measure(laboratory: Laboratory) -> Tables:
    """Return the similarity of the layers of each pair of networks, on each data set."""
    tables: dict[str, Table] = {}
    for name in _data(laboratory):
        train = laboratory.examples(name, "train", laboratory.pick(fast=1000, default=10_000))
        test, _ = laboratory.examples(name, first=laboratory.pick(fast=400, default=1000))
        networks = {which: _trained(laboratory, name, which, train) for which in TRAINED}
        for first, second in PAIRS:
            found = cka(networks[first], networks[second], test, layers=list(LAYERS))
            low, high = found.interval(0.95)
            rows, columns = np.indices(tuple(found.matrix.shape))
            values = {"similarity": found.matrix, "low": low, "high": high}
            tables[f"{name}: {first}, {second}"] = {
                "row": rows.ravel().tolist(),
                "column": columns.ravel().tolist(),
                **{key: torch.as_tensor(value).flatten().tolist() for key, value in values.items()},
            }
    return tables


def _data(laboratory: Laboratory) -> tuple[DataName, ...]:
    """Return the data sets that are at hand, of those meant for the size."""
    wanted: tuple[DataName, ...] = laboratory.pick(fast=("digits", "fashion"), default=("mnist", "fashion", "cifar10"))
    return tuple(name for name in wanted if laboratory.has(name)) or ("digits",)


def _trained(laboratory: Laboratory, data: DataName, which: str, train: Examples) -> Classifier:
    """Return a network of `TRAINED`; what its folder holds is not trained again."""
    objective, seed = TRAINED[which]
    with preserved(seed):
        module = ResidualNetwork(train[0].shape[1], 10)
    recipe = training.Recipe(
        epochs=laboratory.pick(fast=5, default=12),
        batch_size=64,
        lr=0.05,
        schedule="one-cycle",
        holdout=0.02,
        seed=seed,
    )
    name = f"{data}-residual-{which.replace(' ', '-')}"
    folder, chosen = laboratory.out / NETWORKS / name, training.resolve(objective, laboratory.ball("linf", data))
    made = laboratory.trained_once(
        name, lambda: training.train(module, train, objective=chosen, recipe=recipe, folder=folder)
    )
    return made.classifier


@dataclass(frozen=True)
class Matrix:
    """A similarity matrix read from its table, with the ends of its intervals."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, table: Table) -> "Matrix":
        """Return the matrices of a table; what is undefined is NaN."""
        rows, columns = (int(max(map(int, table[axis]))) + 1 for axis in ("row", "column"))
        read = (np.array(table[k], dtype=float).reshape(rows, columns) for k in ("similarity", "low", "high"))
        return cls(*read)

    @property
    def late(self) -> np.ndarray:
        """Off-diagonal similarities among the later half of the layers."""
        late = self.value[len(self.value) // 2 :, len(self.value) // 2 :]
        return late[np.triu_indices(len(late), 1)]

    @property
    def diagonal(self) -> np.ndarray:
        """Similarities of each layer with its own counterpart."""
        return np.diag(self.value)


def _names(tables: Tables) -> list[str]:
    return sorted({title.partition(":")[0] for title in tables})


def _matrix(tables: Tables, data: str, first: str, second: str) -> Matrix:
    return Matrix.of(tables[f"{data}: {first}, {second}"])


def _decided(said: str, names: Sequence[str], holds: Sequence[bool]) -> Decision:
    """Return that it holds on all data sets, or on which it does not and why that may be."""
    failing = [name for name, held in zip(names, holds, strict=True) if not held]
    if not failing:
        return Decision(verdict="pattern", sentence=said)
    return Decision(verdict="differs", sentence=f"{said} Not so on {' and '.join(failing)}: {CHANCE}")


def _self_similar(tables: Tables) -> Decision:
    found, holds, names = [], [], _names(tables)
    for data in names:
        robust, standard = (
            float(np.nanmean(_matrix(tables, data, kind, kind).late)) for kind in ("robust", "standard")
        )
        found.append(f"{data}: robust {robust:.3f}, standard {standard:.3f}")
        holds.append(robust > standard)
    return _decided("mean similarity among the later half of the layers, " + "; ".join(found) + ".", names, holds)


def _cross(tables: Tables) -> Decision:
    found, holds, names = [], [], _names(tables)
    for data in names:
        pairs = {pair: _matrix(tables, data, *pair) for pair in PAIRS[2:]}
        means = {pair: float(np.nanmean(matrix.diagonal)) for pair, matrix in pairs.items()}
        found.append(
            f"{data}: standard-robust {means[PAIRS[2]]:.3f}, standard-twin {means[PAIRS[3]]:.3f}, "
            f"robust-twin {means[PAIRS[4]]:.3f}"
        )
        holds.append(means[PAIRS[2]] < means[PAIRS[3]])
    return _decided("mean similarity of corresponding layers, " + "; ".join(found) + ".", names, holds)


def _data_dependence(tables: Tables) -> Decision:
    names = _names(tables)
    if len(names) < 2:
        return Decision(
            verdict="not measured",
            sentence=f"only {names[0]} is at hand; a second data set is needed (--fashion, --mnist).",
        )
    shifts = {}
    for data in names:
        cross, control = (_matrix(tables, data, *pair).diagonal for pair in PAIRS[2:4])
        shifts[data] = control - cross
    means = {data: float(np.nanmean(shift)) for data, shift in shifts.items()}
    deeper = {data: float(np.nanmean(s[len(s) // 2 :]) - np.nanmean(s[: len(s) // 2])) for data, s in shifts.items()}
    text = "; ".join(f"{data}: {means[data]:.3f}, deeper minus earlier half {deeper[data]:+.3f}" for data in names)
    said = f"shift beyond that of a twin, mean over layers, {text}."
    return _decided(said, names, [deeper[data] > 0 for data in names])


def draw(tables: Tables) -> "Figure":
    """Return, for each data set, both self-similarities and three comparisons of two networks."""
    names = _names(tables)
    figure = new_figure(10.0, 2.5 * len(names) + 0.5)
    grid = figure.subplots(len(names), len(PAIRS), squeeze=False)
    for row, data in zip(grid, names, strict=True):
        for axes, (first, second) in zip(row, PAIRS, strict=True):
            values = _matrix(tables, data, first, second).value
            axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=1, origin="lower")
            axes.set_title(
                f"{data}: {first}\nand {second}" if first != second else f"{data}: {first}\nand itself",
                fontsize=SMALL + 1,
            )
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel("layers, upwards")
    figure.colorbar(grid[0, 0].images[0], ax=grid, label="CKA (debiased)", shrink=0.8)
    return figure


ITEM = Item(
    name="figure-17.2",
    section="17.5.1",
    title="Similarity of representations",
    claims=(
        Claim(
            name="self-similarity",
            says="Robust networks have higher self-similarity in deeper layers.",
            criterion="On every data set the later half of the layers are more alike in the robust network.",
            decide=_self_similar,
        ),
        Claim(
            name="cross-model",
            says="Representations of adversarially trained networks differ substantially from standard ones.",
            criterion="On every data set standard and robust are less alike than two standard networks of two seeds.",
            decide=_cross,
            truth="It is said of robust against standard; between two robust networks similarity rises, not falls.",
        ),
        Claim(
            name="data",
            says="The degree varies with the data; the reorganisation of deeper layers is consistent.",
            criterion="On each of at least two data sets the shift beyond a twin's is larger in the deeper half.",
            decide=_data_dependence,
        ),
    ),
    measure=measure,
    draw=draw,
)
