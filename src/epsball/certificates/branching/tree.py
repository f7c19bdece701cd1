"""`Tree`: the proof of one row by splits, and `Leaf`: what the bound of one part of the domain stands on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor

Ending = Literal["proved", "witness", "rounding", "overflow", "parts", "passes", "time"]
"""How a search ended: every row proved; a point whose margin is not positive; a row that is positive by less than
rounding may cost, or whose rounding has no bound; or a limit reached."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Searched:
    """What a search of one example came to.

    Parameters
    ----------
    ending
        How it ended.
    parts, leaves
        Parts of the domain that it bounded, and leaves that it proved.
    witness
        A point, flattened, at which some margin is not positive, or None.
    recorded
        Whether the trees that prove rows were kept; they are not where they grow too large.
    """

    ending: Ending
    parts: int
    leaves: int
    witness: Tensor | None = None
    recorded: bool = True


class Split(NamedTuple):
    """An entry of a node's value, by its number, and where it is cut: the parts are z <= kink and z >= kink."""

    node: str
    entry: int
    kink: float


class Step(NamedTuple):
    """One constraint on the way to a leaf: sign (z - kink) >= 0 for the entry of a split, and its multiplier."""

    split: Split
    sign: int
    multiplier: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Slopes:
    """Slopes of the lines around a bent node in each of L leaves, at the entries where there is a choice.

    Parameters
    ----------
    places
        The entries, (m,).
    lower, upper
        (L, m), float16; None above is the chord over the leaf's interval. They hold where the node bends on that
        interval; elsewhere both lines are the chord.
    """

    places: Tensor
    lower: Tensor
    upper: Tensor | None

    def take(self, leaves: slice) -> "Slopes":
        """Return the slopes of some leaves."""
        return Slopes(
            places=self.places, lower=self.lower[leaves], upper=None if self.upper is None else self.upper[leaves]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Taus:
    """The envelopes above a bent node's rectifiers, as shares of the function above what each takes.

    Parameters
    ----------
    places, levels
        Entries of the node, (m,), and by them and by entry of the input the share, in 255ths, (m, d), uint8.
    """

    places: Tensor
    levels: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditional:
    """What bounds k neurons where a row's margin is at most a level.

    Parameters
    ----------
    node, neurons
        The node, and the neurons by their places in its flattened value.
    multipliers
        mu >= 0 of margin <= level, (2 k,): of the rows that bound the neurons from below, then from above.
    slopes
        By bent node the slopes of these rows.
    """

    node: str
    neurons: Tensor
    multipliers: Tensor
    slopes: Mapping[str, Slopes]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """A proof of one row in preorder: inner nodes are splits, the part z <= kink first, and None is a leaf.

    Parameters
    ----------
    row
        The number of the row.
    shape
        The nodes.
    paths
        For each leaf, in their order, the constraints on the way to it.
    slopes
        By node the slopes of the leaves.
    taus
        By node the envelopes, of which a leaf's lower slopes are the shares too.
    further, used
        Other envelopes than these, and for each leaf which it stands on: 0 for `taus`, then these; none if all do on
        `taus`.
    conditional
        Neurons that are bounded, one after the other, where the row's margin is at most what is claimed of it; then
        the leaves show no more than the claim.
    """

    row: int
    shape: Sequence[Split | None]
    paths: Sequence[Sequence[Step]]
    slopes: Mapping[str, Slopes]
    taus: Mapping[str, Taus] = field(default_factory=dict)
    further: Sequence[Mapping[str, Taus]] = ()
    used: Sequence[int] = ()
    conditional: Sequence[Conditional] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """What the bound of one part of a domain stands on where every node is bounded anew on it.

    Parameters
    ----------
    path
        The constraints on the way to it.
    slopes
        By nonlinear node the slopes of the lines below and above it, of its shape; None above is the chord.
    final
        By rectifier the slopes below it for the row, where these are others.
    refreshed
        Whether nodes are bounded by rows of their own on the part, and not by intervals alone.
    """

    path: Sequence[Step]
    slopes: Mapping[str, tuple[Tensor, Tensor | None]]
    final: Mapping[str, Tensor]
    refreshed: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Division:
    """A proof of one row by pieces, in preorder as in `Tree`; cuts may be of the input too.

    Parameters
    ----------
    row, shape, paths
        As in `Tree`.
    pieces, used
        What bounds stand on, and for each leaf the number of the piece that bounds it: what refutes the far side of a
        cut may be what bounded the part that was cut.
    """

    row: int
    shape: Sequence[Split | None]
    paths: Sequence[Sequence[Step]]
    pieces: Sequence[Piece]
    used: Sequence[int]
