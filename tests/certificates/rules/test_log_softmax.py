"""Networks that end in log-softmax are claimed about in float32, and nearly as well as their logits."""

import pytest
import torch
from torch import nn

from epsball.ball import Ball
from epsball.certificates import certify
from epsball.classifier import Classifier
from epsball.errors import AssumptionError


@pytest.fixture(scope="module", params=[1.0, 300.0], ids=["usual", "large"])
def body(request) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    net[2].weight.data *= request.param
    return net


@pytest.mark.parametrize("method", ["interval", "crown", "optimised"])
def test_float32_margins_are_those_of_the_logits_less_a_few_units(body, method):
    x, ball = torch.rand(8, 6, generator=torch.Generator().manual_seed(1)), Ball("linf", "1/50")
    y = body(x).argmax(1)
    bare = certify(Classifier(body), x, y, ball, method=method)
    behind = certify(Classifier(nn.Sequential(body, nn.LogSoftmax(1))), x, y, ball, method=method)
    loss = bare.margin - behind.margin
    if method == "interval":
        assert bool((loss > -1e-9).all()), "an interval of log-softmax cannot beat the rows over the logits"
    else:
        assert bool((loss >= 0).all())
        assert bool((loss <= 2.0**-24 * (400 + 12 * body(x).abs().amax(1).double() + 12 * bare.margin.abs())).all())


def test_float32_margins_are_below_every_sampled_one(body):
    net, ball = nn.Sequential(body, nn.LogSoftmax(1)), Ball("linf", "1/50")
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(1))
    found = certify(Classifier(net), x, net(x).argmax(1), ball, method="crown")
    centres = x.repeat_interleave(1000, 0)
    corners = 2 * torch.rand(centres.shape, generator=torch.Generator().manual_seed(2)).round() - 1
    points = ball.project(centres + corners / 50, centres)
    logits = net(points).detach().double().unflatten(0, (4, 1000))
    own = logits.gather(2, found.predicted.view(4, 1, 1).expand(4, 1000, 1))
    others = logits.scatter(2, found.predicted.view(4, 1, 1).expand(4, 1000, 1), -torch.inf)
    assert bool(((own[..., 0] - others.amax(2)).amin(1) >= found.margin).all())


def test_layer_normalisation_still_has_no_claim_about_float32():
    x, y = torch.rand(2, 6), torch.zeros(2, dtype=torch.int64)
    net = nn.Sequential(nn.Linear(6, 3), nn.LayerNorm(3)).eval()
    with pytest.raises(AssumptionError, match="layer_norm"):
        certify(Classifier(net), x, y, Ball("linf", "1/50"))
