"""How figures look: colours from one palette, curves that differ without colour, shares of the right total."""

import itertools
import re
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

import epsball
from epsball import figures

SOURCES = Path(epsball.__file__).parent


def curves(number: int) -> list[tuple[str, str]]:
    return [(style["color"], style["linestyle"]) for style in map(figures.line_style, range(number))]


def test_curves_differ_and_neighbours_differ_without_colour() -> None:
    styles = curves(24)
    assert len(set(styles)) == 24
    assert all(first[1] != second[1] for first, second in itertools.pairwise(styles))


def test_colours_are_named_in_one_place_only() -> None:
    """Elsewhere no colour is written as a number, a cycle's `C0`, or a colour's name."""
    colour = re.compile(r"#[0-9A-Fa-f]{6}\b|[\"']C\d[^\"']*[\"']|color=\"(black|red|green|blue)")
    found = [path.name for path in SOURCES.rglob("*.py") if colour.search(path.read_text())]
    assert found == ["figures.py"]


def test_survival_counts_what_is_not_finite() -> None:
    figure = Figure()
    axes = figure.subplots()
    values = torch.tensor([0.5, torch.inf, -torch.inf, -1.0, -1.7e308], dtype=torch.float64)
    figures.draw_survival(axes, values, 5)
    (line,) = axes.lines
    assert line.get_xdata().tolist() == [-1.0, 0.5, 0.5]
    assert line.get_ydata().tolist() == pytest.approx([3 / 5, 2 / 5, 1 / 5])


def test_nothing_drawn_says_why() -> None:
    figure = figures.nothing_drawn("no example has a bound")
    figure.draw_without_rendering()
    assert figure.axes[0].texts[0].get_text() == "no example has a bound"
