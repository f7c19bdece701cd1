"""Lipschitz constants over one ball: intervals of the Jacobian, carried from the logits back to the input.

Rows J of the Jacobian are kept as middles c and half-widths h >= 0. An affine node takes them to
c W and h abs(W); a function of one variable multiplies them by the interval of its derivative over the node's
bounds (Weng et al., "Towards Fast Computation of Certified Robustness for ReLU Networks", ICML 2018,
Fast-Lip; here for any graph of affine nodes and such functions).
"""

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64
from epsball.certificates.box import Box
from epsball.certificates.curves import curve_of
from epsball.certificates.lipschitz.factors import row_norms
from epsball.certificates.propagation import Propagation, node_size
from epsball.graph import Node, kinds

_DOUBT = 2.0**-40
"""Covers the rounding of a derivative's kernel, relative and absolute."""


def local_constants(bounds: Propagation, specification: Tensor, norm: str) -> Tensor | None:
    """Return upper bounds of the Lipschitz constants of rows over the logits on each example's ball, (n, r).

    None where the graph has a node that is neither affine nor a function of one variable.
    """
    pending = {bounds.graph.output: (specification, torch.zeros_like(specification))}
    for node in reversed(bounds.graph.nodes):
        if node.name not in pending or isinstance(node.kind, kinds.Constant):
            continue
        middle, half = pending.pop(node.name)
        if isinstance(node.kind, kinds.Input):
            return row_norms((middle.abs() + half).flatten(2), norm)
        carried = _through(bounds, node, middle, half)
        if carried is None:
            return None
        for name, (c, h) in zip(bounds.sources(node), carried, strict=True):
            before = pending.get(name)
            pending[name] = (c, h) if before is None else (c + before[0], _grown(h + before[1], c, before[0]))
    return torch.zeros(specification.shape[:2], dtype=torch.float64)


def _grown(half: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return half + 4 * BINARY64.unit * (first.abs() + second.abs() + half)


def _through(bounds: Propagation, node: Node, middle: Tensor, half: Tensor) -> list[tuple[Tensor, Tensor]] | None:
    form = bounds.form(node)
    if form is not None:
        shapes = [bounds.graph[name].shape for name in bounds.sources(node)]
        centres = form.transpose(middle.flatten(0, 1))
        gamma = BINARY64.gamma(form.terms + node_size(node) + 8)
        size = _spread_back(form.spread, shapes, (half + gamma * (middle.abs() + half)).flatten(0, 1))
        many = middle.shape[:2]
        return [
            (c.unflatten(0, many), h.unflatten(0, many) * (1 + 2 * gamma) + 2.0**-900)
            for c, h in zip(centres, size, strict=True)
        ]
    slopes = _slopes(bounds, node)
    if slopes is None:
        return None
    low, high = (side.unsqueeze(1) for side in slopes)
    ends = [(middle + sign * half) * side for sign in (-1, 1) for side in (low, high)]
    least = torch.minimum(torch.minimum(ends[0], ends[1]), torch.minimum(ends[2], ends[3]))
    most = torch.maximum(torch.maximum(ends[0], ends[1]), torch.maximum(ends[2], ends[3]))
    centre = 0.5 * (least + most)
    return [(centre, _grown(torch.maximum(most - centre, centre - least), least, most))]


def _spread_back(spread, shapes: list[tuple[int, ...]], rows: Tensor) -> tuple[Tensor, ...]:
    zeros = [rows.new_zeros(len(rows), *shape) for shape in shapes]
    return torch.func.vjp(spread, *zeros)[1](rows)


def _slopes(bounds: Propagation, node: Node) -> Box | None:
    """Return the interval of the derivative over the node's input, (n, *shape); kinks count from both sides."""
    if isinstance(node.kind, kinds.PReLU):
        slope = bounds.parameters[node.kind.slope].view(1, -1, *(1,) * (len(node.shape) - 1))
        (box,) = bounds.inputs(node)
        below, above = torch.where(box.low < 0, slope, 1.0), torch.where(box.high > 0, 1.0, slope)
        return Box(torch.minimum(below, above), torch.maximum(below, above))
    curve = curve_of(node.kind.function, node.kind.arguments) if isinstance(node.kind, kinds.Elementwise) else None
    if curve is None or curve.jump:
        return None
    (box,) = bounds.inputs(node)
    # Between cuts f is convex or concave, so f' is monotone: its extremes are at ends and on either side of cuts.
    points = [box.low, box.high]
    for cut in curve.cuts_in(box):
        at = torch.as_tensor(cut, dtype=box.low.dtype).expand_as(box.low)
        sides = (torch.nextafter(at, at - 1), torch.nextafter(at, at + 1))
        points += [side.maximum(box.low).minimum(box.high) for side in sides]
    found = torch.stack([curve.slope(point) for point in points])
    doubt = 0.0 if curve.straight else _DOUBT * (1 + found.abs().amax(dim=0))
    least, most = found.amin(dim=0) - doubt, found.amax(dim=0) + doubt
    unknown = curve.unknown(box)
    return Box(torch.where(unknown, -torch.inf, least), torch.where(unknown, torch.inf, most))
