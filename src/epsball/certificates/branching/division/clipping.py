"""What the line of a row refutes of a part is cut off, as a leaf of its own."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from epsball.certificates.branching.division.bounding import Bounded
from epsball.certificates.branching.division.boxes import clipped
from epsball.certificates.branching.division.cut_tree import CutTree
from epsball.certificates.branching.tree import Piece, Split
from epsball.certificates.tensors import flat

BEYOND = 2.0**-18
"""Share of the rows' bounds at the root that a line shows of what it refutes: it covers what slopes lose in files."""

_WORTH = 0.1
"""The least share of a part's width that is worth a leaf, which the checker bounds by itself."""


def without_refuted(
    found: Bounded, left: Tensor, tree: CutTree, least: float, piece: Callable[[Bounded, int, int], Piece | None]
) -> Bounded:
    """Return parts without what lies beyond their rows' lines, which is entered as leaves.

    A row v >= L + a . x - min a . x over the part's box is at least `least` where one input j is further than
    (least - L) / abs(a_j) from the end at which a_j x_j is least. On that side of a cut across the input bounds by the
    same slopes are no looser than the line.

    Parameters
    ----------
    found, left
        Parts, whose domains are boxes, with their bounds; and which of them are open, (n,).
    tree, least
        The tree of the parts, and the value > 0 of what is refuted.
    piece
        Given parts, the place of one, and its number: what its bound stands on, if it is kept.

    References
    ----------
    After Zhou et al., "Clip-and-Verify" (NeurIPS 2025), here by one line at a time.
    """
    source, boxes = found.bounds.graph.input.name, found.boxes
    if source not in found.found.met or boxes.number is None:
        return found
    line = flat(found.found.met[source], 1)
    new = clipped(boxes, found.found.value.unsqueeze(1) - least, line.unsqueeze(1))
    worth = _WORTH * (boxes.high - boxes.low)
    origins = boxes.number.tolist()
    numbers, ends = list(origins), []
    for sign, old, end in ((-1, boxes.low, new.low), (1, boxes.high, new.high)):
        moves = ((end - old).abs() > worth) & left.unsqueeze(1)
        ends.append(torch.where(moves, end, old))
        for part, entry in torch.nonzero(moves).tolist():
            of = origins[part]
            if of not in tree.lines:
                tree.lines[of] = piece(found, part, of)
            cut = Split(source, entry, float(end[part, entry]))
            numbers[part] = tree.clip(numbers[part], cut, sign, of, 0.5 * least)
    return found._replace(boxes=replace(boxes, low=ends[0], high=ends[1], number=torch.tensor(numbers)))
