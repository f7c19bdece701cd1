"""Heatmaps: what they show, and that names do not overlap."""

import io
import itertools

import pytest
import torch

from epsball.errors import InputError
from epsball.similarity import Similarity, heatmaps


def made(a: int, b: int, hole: int | None = None) -> Similarity:
    matrix = torch.rand(a, b, dtype=torch.float64, generator=torch.Generator().manual_seed(a))
    if hole is not None:
        matrix[hole] = torch.nan
    return Similarity(
        matrix=matrix,
        error=torch.zeros(a, b, dtype=torch.float64),
        layers_a=tuple(f"layer{i // 6}.{i % 6}.conv" for i in range(a)),
        layers_b=tuple(f"layer{i // 6}.{i % 6}.conv" for i in range(b)),
        replicates=torch.zeros(0, a, b, dtype=torch.float64),
        shifted=None,
        shifted_share=0.01,
        rows=30,
        batches=1,
        kernel="linear",
        estimator="debiased",
    )


def test_the_layers_of_a_run_upwards_on_one_colour_scale():
    figure = heatmaps({"one": made(5, 7), "two": made(6, 4)})
    images = [image for ax in figure.axes for image in ax.images]
    assert [image.get_clim() for image in images] == [(0.0, 1.0), (0.0, 1.0)]
    assert [image.origin for image in images] == ["lower", "lower"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == list(made(5, 7).layers_a)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["one", "two"]
    assert {ax.get_xlabel() for ax in figure.axes[:2]} == {"layers of the second network, input to output"}
    assert {ax.get_ylabel() for ax in figure.axes[:2]} == {"layers of the first network, input to output"}


def test_axes_have_the_names_of_the_networks():
    axes = made(3, 3).plot(names=("standard", "robust")).axes[0]
    assert axes.get_ylabel() == "layers of standard, input to output"
    assert axes.get_xlabel() == "layers of robust, input to output"


def test_the_names_of_many_layers_do_not_overlap():
    layers = 90
    figure = heatmaps({"a": made(layers, layers), "b": made(layers, layers)})
    figure.draw_without_rendering()
    for ax in figure.axes[:2]:
        for labels, along in ((ax.get_yticklabels(), "y"), (ax.get_xticklabels(), "x")):
            boxes = [label.get_window_extent() for label in labels]
            assert len(boxes) == layers
            for first, second in itertools.pairwise(boxes):
                assert (second.y0 >= first.y1 - 1) if along == "y" else (second.x0 >= first.x1 - 1)


def test_of_very_many_layers_every_second_is_named():
    ax = made(150, 150).plot().axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(made(150, 150).layers_a[::2])


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_undefined_layers_are_drawn_and_files_written(kind):
    out = io.BytesIO()
    made(6, 6, hole=2).plot().savefig(out, format=kind)
    assert len(out.getvalue()) > 1000


def test_no_panels():
    with pytest.raises(InputError, match="panels is empty"):
        heatmaps({})
