"""Directions by name: displacements that lead from x to points of ball and box."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from epsball.attacks.parts.tensors import column
from epsball.ball.norm import length, rows_of
from epsball.errors import InputError, lookup
from epsball.masking.geometry import curvature
from epsball.masking.landscape.subject import Subject
from epsball.randomness import Keys

DirectionName = Literal["gradient", "witness", "second-witness", "random", "curvature"]
"""gradient: to FGSM's point; witness and second-witness: to what attacks found; random: to a random point at the
radius; curvature: along which the margin's gradient changes most."""

Direction = DirectionName | Tensor
"""A name, or displacements (n, *shape) or (*shape)."""

NAMES: dict[str, str] = {
    "gradient": "to FGSM's point",
    "witness": "to the witness",
    "second-witness": "to a second witness",
    "random": "random",
    "curvature": "of largest curvature",
    "given": "given",
}
"""What notes call them."""

_INDEPENDENT = 1e-4
"""Share of its length that a direction must have outside the first one to span a plane with it."""


def parsed(text: str) -> tuple[DirectionName, DirectionName]:
    """Return the two directions that a text names, as in ``gradient,random``.

    Raises
    ------
    InputError
        If it does not name two known ones.
    """
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2:
        raise InputError(f"directions are '{text}'; give two names, as in gradient,random.")
    known: dict[str, DirectionName] = {name: name for name in get_args(DirectionName)}
    return lookup(known, names[0], "direction"), lookup(known, names[1], "direction")


def name_of(direction: Direction) -> str:
    """Return the name of a direction, ``given`` for a tensor."""
    if isinstance(direction, Tensor):
        return "given"
    lookup(NAMES, direction, "direction")
    return direction


def random_displacement(subject: Subject, keys: Keys) -> Float[Tensor, "n *shape"]:
    """Return displacements to points at the radius: signs in linf, Gaussian in l2, spread out in l1; projected."""
    around, shape = subject.around, subject.x.shape[1:]
    if subject.ball.norm == "linf":
        step = keys.uniform(shape).sub_(0.5).sign_()
    else:
        step = around.norm.draw(keys, subject.x[0].numel()).view(len(subject), *shape)
        step = step / column(length(rows_of(step), around.norm.order), step)
    return _displacement(subject, subject.x + (around.radius * step).to(subject.x.dtype))


def curved_displacement(subject: Subject) -> Float[Tensor, "n *shape"]:
    """Return displacements along the margin's largest curvature, to the side on which the box leaves more room."""
    v = curvature(subject.margin, subject.ball, subject.keys).direction.double()
    step = at_radius(subject, v)
    up, down = (_displacement(subject, (subject.x + sign * step).to(subject.x.dtype)) for sign in (1.0, -1.0))
    longer = up.flatten(1).square().sum(1) >= down.flatten(1).square().sum(1)
    return torch.where(column(longer, up), up, down)


def given_displacement(subject: Subject, direction: Tensor) -> Float[Tensor, "n *shape"]:
    """Return the user's displacements, one per example.

    Raises
    ------
    InputError
        If they have another shape, are not finite, or one of them is zero.
    """
    shape = tuple(subject.x.shape)
    if tuple(direction.shape) not in (shape, shape[1:]):
        raise InputError(f"a direction is {tuple(direction.shape)}; give {shape}, or {shape[1:]} for all examples.")
    v = direction.detach().to(subject.x.device, torch.float64).expand(shape)
    if not bool(v.isfinite().all()) or not bool(v.flatten(1).any(1).all()):
        raise InputError("a direction is zero or not finite; give one of positive, finite length per example.")
    return v


def _displacement(subject: Subject, points: Tensor) -> Float[Tensor, "n *shape"]:
    return subject.around.project(points).double() - subject.x.double()


def radii(subject: Subject, v: Float[Tensor, "n *shape"]) -> Float64[Tensor, " n"]:
    """Return the lengths of displacements in the ball's norm, in radii."""
    return length(rows_of(v), subject.around.norm.order) / subject.around.radius


def at_radius(subject: Subject, v: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
    """Return displacements scaled to the radius in the ball's norm; zero ones stay zero."""
    size = radii(subject, v)
    return v / column(size.masked_fill(size == 0, 1.0), v)


def orthogonal(
    first: Float[Tensor, "n *shape"] | None, second: Float[Tensor, "n *shape"]
) -> tuple[Float[Tensor, "n *shape"], Bool[Tensor, " n"]]:
    """Return second - first <first, second> / <first, first>, and where it is zero or all but parallel to the first."""
    b = second.flatten(1)
    zero = ~b.any(1)
    if first is None:
        return second, zero
    a = first.flatten(1)
    rest = b - a * ((a * b).sum(1, keepdim=True) / (a * a).sum(1, keepdim=True))
    parallel = rest.square().sum(1) <= _INDEPENDENT**2 * b.square().sum(1)
    return rest.view_as(second), parallel | zero
