"""`CutTree`: the cuts of a search by boxes, the parts that they leave, and what proves these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from epsball.certificates.branching.division.pulls import Pull
from epsball.certificates.branching.tree import Division, Piece, Split, Step


@dataclass(kw_only=True, eq=False)
class CutTree:
    """The trees of some rows, whose roots are the first numbers.

    Parameters
    ----------
    roots
        How many rows there are.
    children, parents
        By number of a part that was cut where, and the parts below and above; and of every part but the roots the one
        it was cut from, the cut, and its sign.
    leaves
        By number of a part that is closed its bound, and what that stands on, or None where it is not kept.
    open
        By number of a part that is open a bound that holds there.
    lines
        By number of a part that was clipped what its line stands on, or None where it is not kept.
    beyond, kept
        By number of a leaf that a line refutes, the number of the part that the line is of; and the numbers of what is
        left beside such leaves.
    """

    roots: int
    children: dict[int, tuple[Split, int, int]] = field(default_factory=dict)
    parents: dict[int, tuple[int, Split, int]] = field(default_factory=dict)
    leaves: dict[int, tuple[float, Piece | None]] = field(default_factory=dict)
    open: dict[int, float] = field(default_factory=dict)
    lines: dict[int, Piece | None] = field(default_factory=dict)
    beyond: dict[int, int] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)

    def divide(self, number: int, split: Split) -> tuple[int, int]:
        """Enter a cut; return the numbers of both parts."""
        below = self.roots + len(self.parents)
        self.children[number] = split, below, below + 1
        before = self.open.pop(number)
        for child, sign in ((below, -1), (below + 1, 1)):
            self.parents[child] = number, split, sign
            self.open[child] = before
        return below, below + 1

    def clip(self, number: int, split: Split, sign: int, of: int, value: float) -> int:
        """Enter that the line of a part refutes one side of a cut, by its sign; return the number of the other side."""
        sides = self.divide(number, split)
        far, near = sides[sign > 0], sides[sign < 0]
        del self.open[far]
        self.leaves[far] = value, None
        self.beyond[far] = of
        self.kept.add(near)
        return near

    def path(self, number: int) -> list[tuple[Split, int]]:
        """Return the cuts on the way to a part, with their signs."""
        path = []
        while number in self.parents:
            number, split, sign = self.parents[number]
            path.append((split, sign))
        return path[::-1]

    def steps(self, number: int, pulls: Mapping[str, Pull], at: int) -> list[Step]:
        """Return the cuts on the way with the multipliers of an example: of cuts of one entry the last counts."""
        steps, done = [], set()
        for split, sign in reversed(self.path(number)):
            pull, key = pulls.get(split.node), (split.node, split.entry, sign)
            multiplier = 0.0
            if pull is not None and key not in done:
                multiplier = float((pull.above if sign > 0 else pull.below)[at].flatten()[split.entry])
            done.add(key)
            steps.append(Step(split, sign, multiplier))
        return steps[::-1]

    def origin(self, number: int) -> int:
        """Return the root above a part."""
        while number in self.parents:
            number = self.parents[number][0]
        return number

    @property
    def closed(self) -> float:
        """The share of the roots that is closed: a part counts for half of the one it was cut from, if not clipped."""
        return sum(self._share(number) for number in self.leaves if number not in self.beyond) / max(1, self.roots)

    def _share(self, number: int) -> float:
        share = 1.0
        while number in self.parents:
            share *= 1.0 if number in self.kept else 0.5
            number = self.parents[number][0]
        return share

    def bounds(self) -> list[tuple[float, bool]]:
        """Return for each root its least bound, and whether all of it is closed."""
        found = [(float("inf"), True)] * self.roots
        for number, (value, _) in self.leaves.items():
            root = self.origin(number)
            found[root] = min(found[root][0], value), found[root][1]
        for number, value in self.open.items():
            root = self.origin(number)
            found[root] = min(found[root][0], value), False
        return found

    def division(self, root: int, row: int) -> Division | None:
        """Return the proof of a row, all of whose parts are closed, or None where it was not kept."""
        shape: list[Split | None] = []
        paths: list[Sequence[Step]] = []
        pieces: list[Piece] = []
        places: dict[int, int] = {}
        used: list[int] = []
        left = [root]
        while left:
            number = left.pop()
            if number in self.children:
                split, below, above = self.children[number]
                shape.append(split)
                left += [above, below]
                continue
            of = self.beyond.get(number, number)
            piece = self.leaves[number][1] if of == number else self.lines[of]
            if piece is None:
                return None
            if of not in places:
                places[of] = len(pieces)
                pieces.append(piece)
            further = self.path(number)[len(piece.path) :]
            shape.append(None)
            paths.append([*piece.path, *(Step(split, sign, 0.0) for split, sign in further)])
            used.append(places[of])
        return Division(row=row, shape=shape, paths=paths, pieces=pieces, used=used)
