"""`Similarity`: the matrix, its errors, and what they refer to."""

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jaxtyping import Float64
from torch import Tensor

from epsball.results import Result, arrow_table, jsonable, text_table
from epsball.similarity.heatmap import heatmaps
from epsball.similarity.hsic import Estimator
from epsball.similarity.jackknife import student_factor
from epsball.similarity.structure import Structure, structure

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Similarity(Result):
    """CKA of every layer of one network with every layer of another.

    Parameters
    ----------
    matrix
        CKA (layers_a, layers_b); NaN for a layer whose features are constant.
    error
        Standard error of each entry by the jackknife; NaN if there are too few rows.
        It is about the distribution of the rows, not about the rows given.
    layers_a, layers_b
        Names of the layers, in execution order.
    replicates
        The matrix without each group of rows in turn: without each batch (at most 32 groups of
        batches), or without each of the ten groups of one batch.
    shifted
        The matrix after a shift of a few rows of the first network's features (see
        `epsball.similarity.row_shift`); None if the kernel is not linear.
    shifted_share
        Share of the rows that were shifted.
    rows, batches
        Number of rows, and of the batches they were divided into.
    kernel, estimator
        The kernel as text, and the estimator.
    undefined_a, undefined_b
        Layers in which the estimator sees no variation: their similarity is not defined.
    notes
        Outputs of the networks that could not be compared, why a layer's similarity is undefined, and where rounding
        of a layer's features is worth knowing.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import epsball as eb
    >>> x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> print(eb.cka(nn.Identity(), nn.Identity(), x).to_csv(), end="")
    layer,output
    output,1.0
    """

    matrix: Float64[Tensor, "a b"]
    error: Float64[Tensor, "a b"]
    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    replicates: Float64[Tensor, "g a b"] = field(repr=False)
    shifted: Float64[Tensor, "a b"] | None = field(repr=False)
    shifted_share: float
    rows: int
    batches: int
    kernel: str
    estimator: Estimator
    undefined_a: tuple[str, ...] = ()
    undefined_b: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def interval(self, confidence: float = 0.95) -> tuple[Float64[Tensor, "a b"], Float64[Tensor, "a b"]]:
        """Return matrix - t error and matrix + t error, t the quantile of Student's t for the number of groups.

        With one batch the error of independent features is overestimated, so the interval covers more
        often than stated; over several batches it covers at its rate.
        """
        reach = student_factor(len(self.replicates), confidence) * self.error
        return self.matrix - reach, self.matrix + reach

    def structure(self) -> Structure:
        """Return the block structure: means over blocks of layers, and the longest block of similar layers."""
        return structure(self)

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per pair of layers: layer_a, layer_b, cka, error, low, high, shifted."""
        low, high = self.interval()
        columns = {"cka": self.matrix, "error": self.error, "low": low, "high": high}
        if self.shifted is not None:
            columns["shifted"] = self.shifted
        return arrow_table(
            {
                "layer_a": [a for a in self.layers_a for _ in self.layers_b],
                "layer_b": [b for _ in self.layers_a for b in self.layers_b],
                **{name: values.flatten() for name, values in columns.items()},
            }
        )

    def to_csv(self) -> str:
        """Return the matrix as text, the second network's layers across and the first's down.

        Other results write the long table of `to_arrow` here; `to_pandas` gives that table.
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["layer", *self.layers_b])
        for name, values in zip(self.layers_a, self.matrix.tolist(), strict=True):
            writer.writerow([name, *values])
        return out.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Return everything except the replicates as JSON's types, with null for undefined entries."""
        document = {name: value for name, value in vars(self).items() if name != "replicates"}
        return jsonable({**document, "structure": self.structure()})

    def plot(self, names: tuple[str, str] | None = None) -> "Figure":
        """Return the heatmap, with the layers of the first network upwards and of the second to the right.

        Parameters
        ----------
        names
            The networks' names, for the axes.
        """
        title = f"{self.kernel}, {self.estimator}, n = {self.rows}"
        return heatmaps({title: self}, names=None if names is None else {title: names})

    def __str__(self) -> str:
        rows: list[tuple[str, object]] = [
            ("layers", f"{len(self.layers_a)} x {len(self.layers_b)}"),
            ("rows", f"{self.rows} in {self.batches} batch" + ("es" if self.batches > 1 else "")),
            ("kernel, estimator", f"{self.kernel}, {self.estimator}"),
            *self.structure().lines(),
        ]
        if self.shifted is not None and not self.shifted.isnan().all():
            rows.append(
                (
                    f"mean if {self.shifted_share:.1%} of rows of a move",
                    f"{float(self.shifted.nanmean()):.4f}",
                )
            )
        rows += [("undefined in a", name) for name in self.undefined_a]
        rows += [("undefined in b", name) for name in self.undefined_b]
        rows += [("note", note) for note in self.notes]
        return text_table(("similarity", "value"), rows)
