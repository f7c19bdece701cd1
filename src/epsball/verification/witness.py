"""`Judge`: whether a point is a witness, by onnxruntime's own outputs and exact comparisons."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from epsball.verification.network import Runtime, exact
from epsball.verification.vnnlib import Query


@dataclass(frozen=True, kw_only=True, eq=False)
class Witness:
    """An input that satisfies a query, exactly, with the outputs that onnxruntime computes for it on the CPU.

    Parameters
    ----------
    x
        The input, in the network's type and shape.
    outputs
        The outputs, as the floats that were computed.
    """

    x: Tensor
    outputs: tuple[float, ...]


class Found(Exception):
    """Raised where a witness is found."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self.witness = witness


@dataclass(kw_only=True, eq=False)
class Judge:
    """Judges points.

    Parameters
    ----------
    query, network
        What is asked, of which network.
    judged
        How many points were judged.
    """

    query: Query
    network: Runtime
    judged: int = field(default=0)

    def judge(self, points: Iterable[Tensor]) -> None:
        """Raise `Found` at the first point that satisfies the query.

        The formula is that of the file, not the cases derived from it. No tolerance is given: input and outputs are
        the floats themselves, as fractions.
        """
        for x in points:
            self.judged += 1
            outputs = self.network.exact_outputs(x)
            if outputs is not None and self.query.formula.holds(exact(x), outputs):
                raise Found(Witness(x=x.clone(), outputs=tuple(map(float, outputs))))


def candidates(points: Tensor, gaps: Tensor, tolerance: float, most: int) -> list[Tensor]:
    """Return the points of least gap, at most so many, whose gap is within a tolerance of 0."""
    order = torch.argsort(gaps)[:most]
    return [points[i] for i in order.tolist() if gaps[i] <= tolerance]
