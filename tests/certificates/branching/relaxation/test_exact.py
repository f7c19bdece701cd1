"""Parts without a free rectifier over balls of l2: no row that is positive ends for want of multipliers."""

import torch

from certificates.networks import random_relu_net
from epsball.ball import Ball
from epsball.certificates import REAL, Domain, Problem, complete
from epsball.graph import Graph


def test_no_positive_row_over_a_ball_of_l2_ends_as_rounding():
    angle, radius = torch.linspace(0, 2 * torch.pi, 1000).double(), torch.linspace(0, 0.5, 40).double()
    around = torch.stack([(radius[:, None] * angle.cos()).flatten(), (radius[:, None] * angle.sin()).flatten()], dim=1)
    endings = []
    for seed in range(10, 17):
        graph = random_relu_net(seed, hidden=(6, 6), classes=3)
        x = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed))
        predicted, domain = graph(x).argmax(dim=1), Domain.of(Ball("l2", "1/2", None, None), x)
        rows = Problem.of(graph, domain, predicted).specification[0]
        logits = graph(x.double() + around, {name: tensor.double() for name, tensor in graph.parameters.items()})
        last = max(name for name in graph.parameters if name.startswith("b"))
        bias = graph.parameters[last].clone()
        bias[predicted] += 0.001 - float((logits @ rows.T).amin())
        moved = Graph(nodes=graph.nodes, output=graph.output, parameters={**graph.parameters, last: bias})
        found = complete(Problem.of(moved, domain, predicted, arithmetic=REAL))
        endings += [one.ending for one in found.searched.values()]
    assert "proved" in endings
    assert set(endings) <= {"proved", "witness"}  # The grid may have missed the least margin by more than 0.001.
