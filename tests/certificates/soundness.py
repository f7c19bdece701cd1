"""Random tiny ReLU networks against exact enumeration of their regions; `make soundness` runs 10,000 of them."""

import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial

import torch

from certificates.networks import least_margins, random_relu_net
from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, REAL, Domain, LowerBounds, Problem, by_class, optimised, sdp
from epsball.graph import Graph

RADII = ("1/10", "1/3", "8/255", "1/2")
SHAPES = ((2,), (3,), (2, 2), (3, 3))
Bound = Callable[[Problem], LowerBounds]
CHECKED: dict[str, Bound] = METHODS | {"optimised": partial(optimised, steps=2), "sdp": partial(sdp, steps=5)}


def check_network(seed: int, methods: Mapping[str, Bound] = CHECKED) -> int:
    """Compare the methods' bounds on a random network with the truth; return how many bounds were compared."""
    graph = random_relu_net(seed, hidden=SHAPES[seed % len(SHAPES)], classes=2 + seed % 2)
    x = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed))
    return check_graph(graph, x, Ball("linf", Fraction(RADII[seed // 4 % len(RADII)])), methods)


def check_graph(graph: Graph, x: torch.Tensor, ball: Ball, methods: Mapping[str, Bound] = CHECKED) -> int:
    """Raise where a bound exceeds the truth: of the real network, or of the float32 one at sampled points."""
    predicted = int(graph(x).argmax())
    low, high = ends(x[0], ball)
    truth = least_margins(graph, low, high, predicted)
    computed = sampled_margins(graph, x, ball, predicted)
    label = torch.tensor([predicted])
    compared = 0
    for arithmetic in (REAL, FLOAT32):
        for name, method in methods.items():
            problem = Problem.of(graph, Domain.of(ball, x), label, arithmetic=arithmetic)
            bounds = by_class(method(problem).rows, label)[0].tolist()
            for j, least in truth.items():
                compared += 1
                if bounds[j] > least:
                    raise AssertionError(
                        f"{name} ({arithmetic.name}) claims {bounds[j]!r}, the truth is {float(least)!r}"
                    )
                if arithmetic is FLOAT32 and bounds[j] > computed[j]:
                    raise AssertionError(f"{name} claims {bounds[j]!r}, float32 computes {computed[j]!r}")
    return compared


def ends(x: torch.Tensor, ball: Ball) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """Return the exact ends of an linf ball and its box around a point."""
    centre = [Fraction(value) for value in x.tolist()]
    low = tuple(c - ball.radius if ball.low is None else max(c - ball.radius, Fraction(ball.low)) for c in centre)
    high = tuple(c + ball.radius if ball.high is None else min(c + ball.radius, Fraction(ball.high)) for c in centre)
    return low, high


def sampled_margins(graph: Graph, x: torch.Tensor, ball: Ball, predicted: int) -> list[float]:
    """Return the least margins, by class, that the float32 network computes at corners and random points."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.cat(
        [torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1], [0, 0]]), 2 * torch.rand(27, 2, generator=generator) - 1]
    )
    points = ball.project(x + float(ball.radius) * directions, x.expand(len(directions), -1).contiguous())
    logits = graph(points).to(torch.float64)
    return (logits[:, predicted : predicted + 1] - logits).amin(dim=0).tolist()


if __name__ == "__main__":
    torch.set_num_threads(1)
    networks = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    total = sum(check_network(seed) for seed in range(networks))
    sys.stdout.write(f"{networks} networks, {total} bounds, none above the truth\n")
