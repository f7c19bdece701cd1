"""`Side`: one network of a comparison, in use on its rows, with the layers chosen in it."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float64, Int64
from torch import Tensor

from epsball.errors import InputError
from epsball.similarity.gram import group_bounds
from epsball.similarity.hsic import LEAST_ROWS, Estimator, KernelStack
from epsball.similarity.kernels import Kernel
from epsball.similarity.layers import Choice, select_layers
from epsball.similarity.network import network
from epsball.similarity.observer import Observer
from epsball.similarity.probe import find_layers
from epsball.similarity.rows import Rows, shuffled

_NO_PAIRS = "its kernel has no variation that the estimator sees, as where only one row differs"


@dataclass(frozen=True, eq=False)
class Side:
    """One network of a comparison on its rows.

    Parameters
    ----------
    observer
        Runs the network and records its chosen layers.
    rows
        The inputs.
    name
        What the network is called in messages.
    remarks
        Outputs of the network that cannot be compared, and why.
    """

    observer: Observer
    rows: Rows
    name: str
    remarks: list[str]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the chosen layers."""
        return tuple(layer.name for layer in self.observer.layers)

    def kernels(self, positions: Int64[Tensor, " m"], bounds: list[int]) -> KernelStack:
        """Return the kernels of all layers on the rows at these positions."""
        return self.observer(self.observer.network.to_model(self.rows.take(positions)), bounds)

    def fix_width(self, most_rows: int) -> None:
        """Fix the kernel's width for each layer on the first rows of the random order, if the kernel has a width."""
        count = min(len(self.rows), self.observer.kernel.sample_rows, most_rows)
        if count:
            x = self.rows.take(shuffled(len(self.rows))[:count])
            self.observer.fix_width(self.observer.network.to_model(x), group_bounds(count, 1))

    def undefined(self, own: Float64[Tensor, " layers"]) -> dict[str, str]:
        """Return the layers whose HSIC with themselves is 0, and why."""
        names = [name for name, value in zip(self.layers, own.tolist(), strict=False) if value == 0.0]
        return {name: self.observer.undefined.get(name, _NO_PAIRS) for name in names}

    def notes(self, undefined: Mapping[str, str]) -> list[str]:
        """Return what is to be said of the outputs and layers."""
        layers = {**self.observer.remarks, **{name: f"undefined: {reason}" for name, reason in undefined.items()}}
        return [*self.remarks, *(f"layer '{name}': {text}" for name, text in layers.items())]


def prepare(
    stack: ExitStack, model: Any, rows: Rows, choice: Choice, kernel: Kernel, estimator: Estimator, name: str
) -> Side:
    """Put a network in use until `stack` closes, find its layers and choose among them."""
    found = network(model)
    stack.enter_context(found.in_use())
    layers, remarks = find_layers(found, found.to_model(rows.take(shuffled(len(rows))[:LEAST_ROWS])))
    modules = [module for module, _ in found.root.named_modules()]
    return Side(Observer(found, select_layers(layers, choice, modules, name), kernel, estimator), rows, name, remarks)


def check_rows(rows_a: Rows, rows_b: Rows) -> None:
    """Check that rows can be paired and that there are enough.

    Raises
    ------
    InputError
        If they cannot be paired, or are too few.
    """
    if rows_a is not rows_b and not (rows_a.ordered and rows_b.ordered):
        raise InputError(
            "data and data_b cannot be paired row by row: one is a DataLoader with its own order. "
            "Give loaders with shuffle=False, or tensors."
        )
    if len(rows_a) != len(rows_b):
        raise InputError(
            f"data has {len(rows_a)} rows and data_b {len(rows_b)}; CKA compares the same rows in the same "
            "order, so both need the same length."
        )
    if len(rows_a) < LEAST_ROWS:
        raise InputError(f"the data have {len(rows_a)} rows; CKA needs at least {LEAST_ROWS} (hundreds to be useful).")
