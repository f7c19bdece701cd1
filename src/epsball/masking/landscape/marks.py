"""What is looked for once per landscape, where it lies in the plane, and what has to be said about it."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from epsball.attacks import Attack
from epsball.masking.landscape import directions
from epsball.masking.landscape.directions import NAMES, Direction
from epsball.masking.landscape.landmarks import Landmark, fgsm_point, second_witness, witness
from epsball.masking.landscape.plane import Plane
from epsball.masking.landscape.subject import Subject

IN_PLANE = 1e-3
"""A point is drawn as lying in the plane if at most this share of its displacement lies off it."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point of N(x) as the plane shows it.

    Parameters
    ----------
    name
        ``FGSM``, ``witness``, ``second witness``; ``lowest margin found`` where an attack found no witness.
    e1, e2
        Coordinates of the nearest point of the plane, in radii.
    off
        Share of its displacement (in l2) that lies off the plane.
    margin, predicted
        The model's answer at the point itself.
    """

    name: str
    e1: float
    e2: float
    off: float
    margin: float
    predicted: int


class Found:
    """FGSM's point and the witnesses; a second witness is looked for only where a direction asks for it."""

    def __init__(self, subject: Subject, method: Attack, wanted: tuple[Direction, Direction]) -> None:
        self._subject, self._method = subject, method
        self._names = [directions.name_of(direction) for direction in wanted]
        self.fgsm, self._saturated = fgsm_point(subject)
        self.witness, self._broken = witness(subject, method)

    @cached_property
    def _second(self) -> tuple[Landmark, Bool[Tensor, " n"]]:
        return second_witness(self._subject)

    def displacement(self, direction: Direction) -> Float[Tensor, "n *shape"]:
        """Return the displacements of a direction; zero where there is none."""
        subject = self._subject
        if isinstance(direction, Tensor):
            return directions.given_displacement(subject, direction)
        if direction == "random":
            return directions.random_displacement(subject, subject.keys.derive("random"))
        if direction == "curvature":
            return directions.curved_displacement(subject)
        points = {"gradient": lambda: self.fgsm, "witness": lambda: self.witness, "second-witness": self._second_point}
        return points[direction]().point.double() - subject.x.double()

    def _second_point(self) -> Landmark:
        return self._second[0]

    def marks(self, span: Plane) -> list[list[Mark]]:
        """Return the marks of each example; a point that is the example itself is not marked."""
        everywhere = torch.ones_like(self._broken)
        shown = [("FGSM", self.fgsm, everywhere), ("witness", self.witness, self._broken)]
        if "second-witness" in self._names:
            shown.append(("second witness", *self._second))
        marks: list[list[Mark]] = [[] for _ in range(len(self._subject))]
        for name, landmark, broken in shown:
            where, off = span.coordinates(landmark.point)
            for i in torch.nonzero(landmark.known)[:, 0].tolist():
                called = name if bool(broken[i]) else "lowest margin found"
                marks[i].append(_mark(called, landmark, where[i], float(off[i]), i))
        return marks

    def notes(self, replaced: Bool[Tensor, "n 2"]) -> tuple[str, ...]:
        """Return what a reader has to know, one sentence each."""
        notes = [
            _counted(self._saturated, "FGSM's point follows the margin, since the cross-entropy's gradient is zero"),
            _counted(~self.fgsm.known, "no FGSM's point, since the gradient is zero or does not reach the input"),
            _counted(~self._broken, f"no witness was found by {self._method.name}: the lowest margin found is marked"),
        ]
        for k, name in enumerate(self._names):
            notes.append(_counted(replaced[:, k], f"the direction {NAMES[name]} is zero or parallel to the other"))
        return tuple(note for note in notes if note)


def _counted(rows: Bool[Tensor, " n"], sentence: str) -> str:
    found = torch.nonzero(rows)[:, 0].tolist()
    return f"example {', '.join(map(str, found))}: {sentence}" if found else ""


def _mark(name: str, landmark: Landmark, where: Float64[Tensor, " 2"], off: float, i: int) -> Mark:
    e1, e2 = where.tolist()
    margin, predicted = float(landmark.margin[i]), int(landmark.predicted[i])
    return Mark(name=name, e1=e1, e2=e2, off=off, margin=margin, predicted=predicted)
