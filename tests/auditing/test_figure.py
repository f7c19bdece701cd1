import numpy as np
import pytest
import torch

import epsball as eb
from auditing.cases import BARE
from epsball import Ball, Classifier
from helpers import examples, mlp


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 6), (16,)])
def test_figures_of_images_and_of_vectors(shape):
    module = mlp(inputs=int(torch.tensor(shape).prod()))
    x, _ = examples(30, shape)
    audit = eb.audit(Classifier(module), (x, module(x).argmax(1)), Ball("linf", 0.3), **BARE)
    figure = audit.plot()
    shown = min(6, len(audit.witnesses.index))
    assert len(figure.axes) == 3 * shown
    assert figure.get_suptitle() == "Verified witnesses in linf:0.3"
    assert figure.axes[2 * shown].get_ylabel() == "witness − example"
    assert all(axes.get_title().startswith("linf distance 0.") for axes in figure.axes[2 * shown :])


@pytest.mark.parametrize(("channels", "colours"), [(1, "RdBu_r"), (3, "gray")])
def test_the_difference_has_its_sign_and_its_scale(channels, colours):
    x = torch.full((1, channels, 4, 4), 0.5)
    change = torch.zeros_like(x)
    change[..., 0], change[..., 1] = 0.25, -0.25
    classifier = Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16 * channels, 2)))
    figure = eb.auditing.witness_figure(classifier, x, torch.tensor([0]), x + change, torch.tensor([0]))
    difference = figure.axes[2]
    shown = np.asarray(difference.images[0].get_array())
    first = shown if channels == 1 else shown[..., 0]
    assert first[0, 0] > first[0, 2] > first[0, 1]
    (bar,) = difference.child_axes
    assert [text.get_text() for text in bar.get_yticklabels()] == ["-0.25", "0", "+0.25"]
    assert bar.collections[-1].get_cmap().name == colours


def test_nothing_broken_can_be_drawn():
    module = mlp()
    x, _ = examples(10)
    figure = eb.audit(Classifier(module), (x, module(x).argmax(1)), Ball("linf", "1e-9"), **BARE).plot()
    assert figure.axes[0].texts[0].get_text() == "no broken example"


def test_the_old_name_is_still_there():
    assert eb.auditing.witness_picture is eb.auditing.witness_figure
