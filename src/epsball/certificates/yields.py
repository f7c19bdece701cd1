"""Which methods are worth their passes before branch and bound: what they closed of open examples, as measured."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from epsball.certificates.problem import Problem

CLASSES = (0.25, 0.5, 0.75)
"""Ends of the classes of what is lacking (`lacking`); the last class has no end."""


def lacking(problem: Problem, best: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return how much is lacking, (n,): of the way from the margin at x down to a bound, the share below 0.

    1 where nothing is bounded, or the margin at x is not above 0 either.
    """
    parameters = {name: tensor.double() for name, tensor in problem.graph.parameters.items()}
    with torch.no_grad():
        logits = problem.graph(problem.domain.centre, parameters)
    margin = torch.einsum("nrc,nc->nr", problem.specification, logits).amin(dim=1)
    share = -best / (margin - best)
    return torch.where((margin > 0) & best.isfinite(), share, 1.0).clamp(0.0, 1.0)


CLOSED: dict[str, tuple[tuple[int, int], ...]] = {
    "crown-ibp": ((0, 0), (0, 0), (0, 0), (0, 29)),
    "crown": ((0, 0), (0, 0), (0, 0), (0, 29)),
    "optimised": ((3, 3), (1, 12), (0, 14), (0, 0)),
    "complete": ((3, 3), (6, 10), (5, 11), (0, 0)),
}
"""By method and class of what was lacking before it, how many examples it closed, of how many.

`mnist_cnn_a_adv` at 0.3 and Wong and Kolter's MNIST network at 0.15, 29 examples that ten steps of PGD do not break;
searches of 60,000 passes.
"""

SEARCH = (13_120, 21_559, 35_512, 35_512)
"""Passes that searches took in the mean, beside their price, by class: seven of the first network's,
run to their end; the last class, which none of them was in, as the one before."""


def is_worth(
    name: str, lack: Float[Tensor, " n"], price: Int64[Tensor, " n"], search: Int64[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """Return for which examples a method closes at least as many per pass as branch and bound in its place, (n,).

    With k of m examples of the class closed where it was measured (`benchmarks/yields.py`), the share is taken as
    (k + 1) / (m + 2), Laplace's rule of succession: a few examples prove neither 0 nor 1. A method that was not
    measured is worth its passes.

    Parameters
    ----------
    name, price
        The method, and the passes that it costs each example.
    lack
        What is lacking before it (`lacking`).
    search
        What branch and bound costs each example before its first part.
    """
    if name not in CLOSED:
        return torch.ones(len(lack), dtype=torch.bool)
    number = torch.bucketize(lack, torch.tensor(CLASSES, dtype=lack.dtype))
    own, others = (
        torch.tensor([(k + 1) / (m + 2) for k, m in CLOSED[method]], dtype=torch.float64)[number]
        for method in (name, "complete")
    )
    whole = search + torch.tensor(SEARCH)[number]
    return own * whole >= others * price
