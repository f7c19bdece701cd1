"""`similarities`: the similarity of every pair of several networks, across epochs, objectives or seeds."""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

from epsball.errors import InputError
from epsball.interruption import carrying
from epsball.results import Result, text_table
from epsball.similarity.heatmap import heatmaps
from epsball.similarity.hsic import Estimator
from epsball.similarity.kernels import KernelLike, kernel_named
from epsball.similarity.layers import Choice
from epsball.similarity.measure import MAX_MEMORY, measure
from epsball.similarity.result import Similarity
from epsball.similarity.rows import Rows
from epsball.similarity.side import check_rows, prepare

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Similarities(Result):
    """CKA of every pair of several networks on the same rows.

    Parameters
    ----------
    pairs
        The similarities by the names of both networks, in the order in which these were given: each
        network with itself and with those after it.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import epsball as eb
    >>> x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> found = eb.similarities({"epoch 1": nn.Identity(), "epoch 2": nn.Flatten()}, x)
    >>> found.to_arrow().column_names[:5]
    ['network_a', 'network_b', 'layer_a', 'layer_b', 'cka']
    """

    pairs: dict[tuple[str, str], Similarity]

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per pair of layers: network_a, network_b, and the columns of `Similarity.to_arrow`."""
        import pyarrow

        def named(names: tuple[str, str], table: "pyarrow.Table") -> "pyarrow.Table":
            a, b = (pyarrow.array([name] * len(table), type=pyarrow.string()) for name in names)
            return table.add_column(0, "network_b", b).add_column(0, "network_a", a)

        return pyarrow.concat_tables(named(names, found.to_arrow()) for names, found in self.pairs.items())

    def to_json(self) -> dict[str, Any]:
        """Return the pairs as a list of JSON's types."""
        return {"pairs": [{"networks": list(names), **found.to_json()} for names, found in self.pairs.items()]}

    def plot(self) -> "Figure":
        """Return the heatmaps of all pairs on one colour scale."""
        titles = {(a, b): a if a == b else f"{a} (up) and {b}" for a, b in self.pairs}
        panels = {titles[names]: found for names, found in self.pairs.items()}
        names = {title: pair for pair, title in titles.items()}
        return heatmaps(panels, columns=math.ceil(math.sqrt(len(panels))), names=names)

    def __str__(self) -> str:
        header = ("network", "and", "mean", "mean of equal layers", "mean off the diagonal", "mean of the last third")
        rows = []
        for names, found in self.pairs.items():
            summary = found.structure()
            means = (summary.mean, summary.diagonal, summary.off_diagonal, summary.late)
            rows.append((*names, *("-" if mean is None else str(mean) for mean in means)))
        return text_table(header, rows)


def similarities(
    networks: Mapping[str, Any],
    data: Any,
    *,
    layers: Choice = "all",
    kernel: KernelLike = "linear",
    estimator: Estimator = "debiased",
    batch_size: int | None = None,
    max_memory: int = MAX_MEMORY,
) -> Similarities:
    """Return the centred kernel alignment of the layers of every pair of networks.

    It gives what `cka` gives for each pair, but each row passes only once through each network: use it
    for checkpoints of one training, several objectives, or several seeds.

    Parameters
    ----------
    networks
        Name and model, as for `cka`, in the order of display.
    data, layers, kernel, estimator, batch_size
        As for `cka`, the same for all networks.
    max_memory
        Bytes for the kernels of a batch, all layers of all networks together.

    Raises
    ------
    InputError, ModelError
        As for `cka`; and if `networks` is empty.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import epsball as eb
    >>> x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> list(eb.similarities({"epoch 1": nn.Identity(), "epoch 2": nn.Flatten()}, x).pairs)
    [('epoch 1', 'epoch 1'), ('epoch 1', 'epoch 2'), ('epoch 2', 'epoch 2')]
    """
    if not networks:
        raise InputError("networks is empty; give at least one name with its model.")
    rows = Rows(data, "data")
    check_rows(rows, rows)
    method = kernel_named(kernel)
    with carrying(lambda: None), ExitStack() as stack:
        sides = [prepare(stack, model, rows, layers, method, estimator, name) for name, model in networks.items()]
        pairs = list(combinations_with_replacement(sides, 2))
        found = measure(pairs, method, estimator, batch_size=batch_size, max_memory=max_memory)
    return Similarities(
        pairs={(first.name, second.name): value for (first, second), value in zip(pairs, found, strict=True)}
    )
