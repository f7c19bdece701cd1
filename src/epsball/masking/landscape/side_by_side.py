"""Landscapes of several classifiers on the same examples: Figure 17.1's pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from epsball import results
from epsball.errors import InputError
from epsball.masking.landscape.result import MOST_DRAWN, Landscape, Quantity

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Landscapes(results.Result):
    """Landscapes of several classifiers, by title.

    Parameters
    ----------
    by_title
        Title and landscape of each, all of equally many examples.

    Raises
    ------
    InputError
        If there is none, or the numbers of examples differ.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.masking.landscape import Landscapes
    >>> x, y, ball = torch.tensor([[0.6, 0.3, 0.2]]), torch.tensor([0]), eb.Ball("linf", 0.1)
    >>> one = eb.landscape(eb.Classifier(torch.nn.Identity()), x, y, ball, points=5)
    >>> both = Landscapes(by_title={"model": one, "again": one})
    >>> both.to_arrow().column("model").to_pylist()
    ['model', 'again']
    """

    by_title: Mapping[str, Landscape]

    def __post_init__(self) -> None:
        counts = {len(landscape) for landscape in self.by_title.values()}
        if len(counts) != 1:
            found = ", ".join(map(str, sorted(counts))) or "none"
            raise InputError(f"landscapes of {found} examples stand side by side; give the same examples to each.")

    def __str__(self) -> str:
        return "\n\n".join(f"{title}\n{landscape}" for title, landscape in self.by_title.items())

    def to_arrow(self) -> "pyarrow.Table":
        """Return the numbers, one row per model and example."""
        return _joined({title: landscape.to_arrow() for title, landscape in self.by_title.items()})

    def points(self) -> "pyarrow.Table":
        """Return the maps, one row per model, example and point."""
        return _joined({title: landscape.points() for title, landscape in self.by_title.items()})

    def to_json(self) -> dict[str, object]:
        """Return each landscape as JSON's types, by title."""
        return {title: landscape.to_json() for title, landscape in self.by_title.items()}

    def plot(self, quantity: Quantity = "margin", examples: Sequence[int] | None = None) -> "Figure":
        """Draw each example of each model, row under row (the first eight examples, if it is not said which)."""
        from epsball.masking.landscape.drawing.overview import overview

        count = len(next(iter(self.by_title.values())))
        return overview(self.by_title, quantity, range(min(MOST_DRAWN, count)) if examples is None else examples)

    def to_html(self, title: str = "Landscapes") -> str:
        """Return one page without network: figures of margin and cross-entropy, numbers and notes."""
        from epsball.masking.landscape.drawing.page import page

        return page(self.by_title, title)


def _joined(tables: Mapping[str, "pyarrow.Table"]) -> "pyarrow.Table":
    """Return tables one under the other, with a column that says whose each row is."""
    import pyarrow

    named = [
        table.add_column(0, "model", pyarrow.array([title] * len(table), pyarrow.string()))
        for title, table in tables.items()
    ]
    return pyarrow.concat_tables(named, promote_options="default")
