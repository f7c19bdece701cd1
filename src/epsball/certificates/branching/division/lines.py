"""Rows bounded on boxes by linear functions of the input, and how far each input may move a row."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsball.certificates.branching.division.boxes import Boxes
from epsball.certificates.branching.division.influence import influence
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import final_lines
from epsball.certificates.propagation import Propagation

_SHARE = 0.1

LEAST = 2.0**-44
"""Share of the whole box's width below which an input is not halved: bounds change by less than their rounding."""


def chord_slopes(bounds: Propagation) -> dict[str, Tensor]:
    """Return for each rectifier the slope of its chord as the lower one."""
    limits = slope_limits(bounds)
    return {name: bounds.relaxation(bounds.graph[name]).upper_slope.clamp(*limits[name]) for name in limits}


def bounded_twice(
    bounds: Propagation, specification: Float[Tensor, "n r classes"]
) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s d"]]:
    """Return bounds and lines of every row, with the relaxations' own lower slopes and with those of the chords."""
    found = [final_lines(bounds, specification, slopes) for slopes in ({}, chord_slopes(bounds))]
    lines = torch.cat([lines.flatten(2) for _, lines in found], dim=1).nan_to_num(0.0, 0.0, 0.0)
    return torch.cat([low for low, _ in found], dim=1), lines


def moved_by_inputs(
    bounds: Propagation, row: Float[Tensor, "n classes"], line: Float[Tensor, "n d"], boxes: Boxes
) -> Float[Tensor, "n d"]:
    """Return how far each input may move a row, per unit of its own change."""
    columns = influence(bounds)
    if columns is not None:
        moved = (columns * row.abs().unsqueeze(1)).sum(dim=2).nan_to_num(0.0, 0.0, 0.0)
        return torch.where(moved.amax(dim=1, keepdim=True) > 0, moved, 1.0)
    width = boxes.high - boxes.low
    size = line.abs() * width
    # A line of 0 says nothing about what its relaxations hide: each input counts for a share, or all for the same.
    mean = size.mean(dim=1, keepdim=True)
    moved = ((size + _SHARE * mean) / width).nan_to_num(0.0, 0.0, 0.0)
    return torch.where(mean > 0, moved, 1.0)


def widest(
    boxes: Boxes, influences: Float[Tensor, "n d"], widths: Float[Tensor, "#n d"]
) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return across which input each box is best halved, with its score, and its middle; a score < 0 stands for none.

    Parameters
    ----------
    boxes, influences
        The boxes, and `moved_by_inputs`.
    widths
        Of the whole domains that they are parts of.
    """
    middle, width = 0.5 * boxes.low + 0.5 * boxes.high, boxes.high - boxes.low
    divides = (boxes.low < middle) & (middle < boxes.high) & (width > LEAST * widths)
    score, across = (influences * width).masked_fill(~divides, -1.0).max(dim=1)
    return score, across, middle.gather(1, across.unsqueeze(1))[:, 0]
