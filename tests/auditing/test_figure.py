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
    assert len(figure.axes) == 3 * min(6, len(audit.witnesses.index))


def test_nothing_broken_can_be_drawn():
    module = mlp()
    x, _ = examples(10)
    figure = eb.audit(Classifier(module), (x, module(x).argmax(1)), Ball("linf", "1e-9"), **BARE).plot()
    assert figure.axes[0].texts[0].get_text() == "no broken example"


def test_the_old_name_is_still_there():
    assert eb.auditing.witness_picture is eb.auditing.witness_figure
