from typing import ClassVar

import pytest
import torch
from torch import nn

from epsball import Classifier
from epsball.attacks.engine.evaluator import Evaluator


class Seen(nn.Module):
    """Notes whether images come channels last; not in an attribute, which would be put back."""

    last: ClassVar[list[bool]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last.append(not x.is_contiguous())
        return x


@pytest.mark.parametrize(("pooling", "precision", "last"), [(False, "float32", False), (True, "float32", True)])
def test_images_go_channels_last_where_that_is_the_faster_layout(pooling, precision, last):
    seen = Seen()
    body = [nn.MaxPool2d(2)] if pooling else [nn.AvgPool2d(2)]
    classifier = Classifier(nn.Sequential(seen, nn.Conv2d(3, 4, 3), *body, nn.Flatten(), nn.Linear(36, 3)))
    x = torch.rand(20, 3, 8, 8)
    with classifier.in_use():
        evaluator = Evaluator(classifier, precision)
        plain = classifier.network(x)
        seen.last.clear()
        logits = evaluator.logits(x)
        of_gradient, _, _ = evaluator.gradients(x, [lambda z, points: z[:, 0]])
    assert seen.last == [last, last]
    torch.testing.assert_close(logits, plain)
    torch.testing.assert_close(of_gradient, plain)
