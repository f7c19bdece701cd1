"""Accuracy against radius."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.attacks import AccuracyCurve
from epsball.attacks.accuracy_curve import plot_curves


@given(st.lists(st.one_of(st.floats(0, 10), st.just(math.nan)), min_size=1, max_size=30), st.floats(0, 10))
def test_the_curve_counts_the_examples_without_a_point_up_to_the_radius(distances, radius):
    curve = AccuracyCurve.of(torch.tensor(distances, dtype=torch.float64))
    standing = sum(math.isnan(d) or d > radius for d in distances)
    assert curve.at(radius) == pytest.approx(standing / len(distances))
    assert curve.at(curve.median) <= 0.5
    assert str(curve)
    assert curve.to_json()["distance"] == sorted(d for d in distances if d == d) + [None] * sum(
        d != d for d in distances
    )


@pytest.mark.parametrize("distances", [[0.1, 0.2, math.inf], [math.inf], [0.0, 0.0]])
def test_curves_are_drawn_inside_the_axes(distances):
    """Also where all examples stand, at accuracy 1, on which the frame lay."""
    curve = AccuracyCurve.of(torch.tensor(distances, dtype=torch.float64))
    (axes,) = plot_curves({"ddn": curve, "fmn": curve}, "l2 radius").axes
    assert [line.get_label() for line in axes.lines] == ["ddn", "fmn"]
    assert axes.get_ylim()[1] > 1
    assert all(axes.get_ylim()[0] <= height < axes.get_ylim()[1] for height in axes.lines[0].get_ydata())


def test_a_curve_begins_with_natural_accuracy_and_has_its_interval():
    curve = AccuracyCurve.of(torch.tensor([0.0, 0.2, 0.4, math.nan], dtype=torch.float64))
    figure = curve.plot()
    (axes,) = figure.axes
    assert axes.lines[0].get_xydata()[0].tolist() == [0.0, 0.75]
    assert axes.get_ylabel() == "accuracy under attack (4 examples)"
    assert [text.get_text() for text in figure.legends[0].texts][-1] == "95% interval of 'accuracy under attack'"
