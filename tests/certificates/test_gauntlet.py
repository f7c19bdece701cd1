"""The gauntlet: each network captured, bounded by every method, and sampled."""

import pytest
import torch

from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, PLAIN, REAL, Domain, Problem
from epsball.certificates.linear.forward import box_of, form_of
from epsball.graph import capture
from graph.gauntlet import GAUNTLET

_SAMPLES = 1000  # of each of two examples

_SLOW = [pytest.mark.slow]
_REPEATED = """
    abs adaptive_max_pool adaptive_pool1d batch_norm celu channels_last_input clamp clamp_below class_token
    constant_padding conv2d conv2d_same division dropout exp flipping glu group_norm hardtanh inline_normalisation
    instance_norm instance_norm1d layer_norm leaky_relu_negative linear linear_on_tokens log max_of_axis max_pool
    maximum_of_axis mean minimum_of_axis multi_head_attention multi_head_attention_lean parameter_product patches
    pixel_shuffle power prelu_channels prelu_image product relu relu6 relu_inplace rms_norm rrelu rsqrt sdpa selu
    sigmoid softshrink softsign splitting sqrt square stacking sum tanh variance weight_norm where_constant
"""
"""Networks all of whose nodes are of kinds, with settings, that the other networks have too."""


def _points(x, radius):
    """Return points of the box around x: half of them corners."""
    generator = torch.Generator().manual_seed(2)
    direction = 2 * torch.rand(len(x), _SAMPLES, *x.shape[1:], generator=generator) - 1
    direction[:, ::2] = direction[:, ::2].sign()
    return (x.unsqueeze(1) + radius * direction).clamp(0, 1)


@pytest.mark.parametrize("name", [pytest.param(name, marks=_SLOW * (name in _REPEATED.split())) for name in GAUNTLET])
def test_bounds_contain_samples(name):
    build, shape = GAUNTLET[name]
    module, ball = build(), Ball("linf", "1/16")
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    graph = capture(module, shape)
    points = Ball("linf", "1/16").project(_points(x, 1 / 16).flatten(0, 1), x.repeat_interleave(_SAMPLES, 0))
    with torch.no_grad():
        logits = module(points).to(torch.float64).unflatten(0, (2, _SAMPLES))
    domain, predicted = Domain.of(ball, x), logits[:, 0].argmax(dim=1)
    problems = {claim: Problem.of(graph, domain, predicted, arithmetic=claim) for claim in (PLAIN, REAL, FLOAT32)}
    least = (logits @ problems[REAL].specification.transpose(1, 2)).amin(dim=1)
    for method in ("interval", "crown"):
        plain = METHODS[method](problems[PLAIN]).rows
        for arithmetic in (REAL, FLOAT32):
            rows = METHODS[method](problems[arithmetic]).rows
            allowed = 1e-5 * (1 + least.abs()) if arithmetic is REAL else 0.0
            assert bool((rows <= least + allowed).all())
            loss = 1e-4 if arithmetic is REAL else 1e-2
            assert bool((rows >= plain - loss * (1 + plain.abs())).all()), "error terms cost more than they may"
    bounds, forms = problems[FLOAT32].propagate(), {}
    boxes = bounds.boxes
    inside = graph.values(points)
    for node in graph.nodes:
        low, high = (end.repeat_interleave(_SAMPLES, 0) if len(end) > 1 else end for end in boxes[node.name])
        assert bool(((inside[node.name] >= low) & (inside[node.name] <= high)).all()), node.name
        forms[node.name] = form_of(bounds, node, forms)
        low, high = (end.repeat_interleave(_SAMPLES, 0) for end in box_of(forms[node.name], bounds))
        assert bool(((inside[node.name] >= low) & (inside[node.name] <= high)).all()), f"{node.name}, forward"
