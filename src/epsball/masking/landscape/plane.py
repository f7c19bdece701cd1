"""`Plane`: the points x + e1 v1 + e2 v2, with orthogonal v1 and v2 as long as the radius."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from epsball.attacks.parts.tensors import column
from epsball.errors import InputError
from epsball.masking.landscape.directions import at_radius, orthogonal, radii, random_displacement
from epsball.masking.landscape.subject import Subject

_TRIES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """A plane through each example.

    Parameters
    ----------
    x
        The examples (n, *shape).
    v1, v2
        Displacements, orthogonal, as long as the radius in the ball's norm: coordinates are in radii.
    lines
        The two directions as they were asked for, before the second was made orthogonal, as long as the radius.
    ends
        Where on the lines the points lie to which the directions led, in radii (n, 2).
    replaced
        Where a direction was zero or parallel to the other, so that a random one took its place (n, 2).
    """

    x: Float[Tensor, "n *shape"]
    v1: Float[Tensor, "n *shape"]
    v2: Float[Tensor, "n *shape"]
    lines: tuple[Float[Tensor, "n *shape"], Float[Tensor, "n *shape"]]
    ends: Float64[Tensor, "n 2"]
    replaced: Bool[Tensor, "n 2"]

    def coordinates(self, points: Float[Tensor, "n *shape"]) -> tuple[Float64[Tensor, "n 2"], Float64[Tensor, " n"]]:
        """Return coordinates of the nearest points of the plane, and what share of points - x lies off it."""
        d = (points.double() - self.x.double()).flatten(1)
        rest, coordinates = d, []
        for v in (self.v1, self.v2):
            v = v.flatten(1).double()
            e = (d * v).sum(1) / (v * v).sum(1)
            coordinates.append(e)
            rest = rest - e[:, None] * v
        size = d.square().sum(1).sqrt()
        off = rest.square().sum(1).sqrt() / size.masked_fill(size == 0, 1.0)
        return torch.stack(coordinates, dim=1), off


def plane(subject: Subject, first: Tensor, second: Tensor) -> Plane:
    """Return the plane that two displacements per example span; random ones fill in where they do not.

    Raises
    ------
    InputError
        If an input has a single coordinate, so that no plane goes through it.
    """
    if subject.x[0].numel() < 2:
        raise InputError("the inputs have one coordinate; a landscape is drawn in a plane, which needs two.")
    found, lost = _independent(subject, first, None)
    first = at_radius(subject, found)
    line, parallel = _independent(subject, second, first)
    rest, _ = orthogonal(first, line)
    dtype = subject.x.dtype
    return Plane(
        x=subject.x,
        v1=first.to(dtype),
        v2=at_radius(subject, rest).to(dtype),
        lines=(first.to(dtype), at_radius(subject, line).to(dtype)),
        ends=torch.stack([radii(subject, v) for v in (found, line)], dim=1),
        replaced=torch.stack([lost, parallel], dim=1),
    )


def _independent(subject: Subject, v: Tensor, first: Tensor | None) -> tuple[Tensor, Bool[Tensor, " n"]]:
    """Return displacements that are not zero, nor parallel to the first ones, and where they were replaced.

    What replaces them leads to a random point of N(x); where N(x) has no other direction, out of the box.
    """
    keys, shape = subject.keys.derive("filling", int(first is not None)), subject.x.shape[1:]
    replaced = dependent = orthogonal(first, v)[1]
    for attempt in range(_TRIES + 1):
        if not bool(dependent.any()):
            break
        last = attempt == _TRIES
        drawn = keys.normal(shape) if last else random_displacement(subject, keys.derive(attempt))
        v = torch.where(column(dependent, v), drawn, v)
        dependent = orthogonal(first, v)[1]
    return v, replaced
