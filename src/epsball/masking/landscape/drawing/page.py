"""One HTML page that stands alone: inline figures, no script, no network."""

import html
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl

from epsball.masking.landscape.drawing.overview import overview
from epsball.results import format_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from epsball.masking.landscape.result import Landscape, Quantity

MOST_SHOWN = 24
"""Examples on a page, at most."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1500px; margin: 2em auto; padding: 0 1em; }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .7em; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1em 0; overflow-x: auto; }
input[name=quantity] { margin: 0 .3em 0 1.2em; }
.loss { display: none; }
#loss:checked ~ main .loss { display: block; }
#loss:checked ~ main .margin { display: none; }
"""

_EXPLANATION = """The dashed line is what the gradient at x predicts, the dotted one adds the second-order term. The
black bar, and the outline in the maps, is the part that lies in N(x), ball and box. Colours are predicted classes,
the label's is blue. What is hatched or pale lies outside the box: the model was evaluated there, but no input
lies there. A dotted marker is the nearest point of the plane to one that lies off it."""


def page(landscapes: Mapping[str, "Landscape"], title: str) -> str:
    """Return the page of some landscapes of the same examples, by the titles of their classifiers."""
    first = next(iter(landscapes.values()))
    directions = " and ".join(first.directions)
    shown = range(min(MOST_SHOWN, len(first)))
    parts = [_example(landscapes, i) for i in shown]
    rest = "" if len(shown) == len(first) else f"<p>{len(first) - len(shown)} more examples are not shown.</p>"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n"
        f"<p>N(x): {html.escape(str(first.ball))}; directions: {html.escape(directions)}. {_EXPLANATION}</p>\n"
        '<input type="radio" name="quantity" id="margin" checked><label for="margin">margin</label>'
        '<input type="radio" name="quantity" id="loss"><label for="loss">cross-entropy</label>\n'
        f"<main>{''.join(parts)}{rest}{_numbers(landscapes)}</main></body></html>\n"
    )


def _example(landscapes: Mapping[str, "Landscape"], i: int) -> str:
    figures = (
        f'<div class="{quantity}">{inline_svg(overview(landscapes, quantity, [i]), f"{i}-{quantity}")}</div>'
        for quantity in _QUANTITIES
    )
    return f"<figure>{''.join(figures)}</figure>\n"


_QUANTITIES: tuple["Quantity", ...] = ("margin", "loss")


def inline_svg(figure: "Figure", salt: str) -> str:
    """Return a figure as an SVG element; ids of figures of different salt do not meet on a page."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _numbers(landscapes: Mapping[str, "Landscape"]) -> str:
    """Return the numbers of all examples as tables, and the notes."""
    parts = ["<h2>Numbers</h2>"]
    for title, landscape in landscapes.items():
        for name, found in landscape.numbers.items():
            parts += [f"<h3>{html.escape(f'{title}: {name}' if title else name)}</h3>", _table(found.columns())]
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in landscape.notes)
        parts.append(f"<ul>{notes}</ul>" if notes else "")
    return "\n".join(parts)


def _table(columns: "Mapping[str, Tensor]") -> str:
    """Return one row per example."""
    head = "".join(f"<th>{key.replace('_', ' ')}</th>" for key in ("example", *columns))
    values = (values.tolist() for values in columns.values())
    rows = ("".join(f"<td>{format_cell(v)}</td>" for v in (i, *row)) for i, row in enumerate(zip(*values, strict=True)))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
