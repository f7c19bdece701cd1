"""The joint ascent of all slopes of one example: of its final rows and of neurons, through the final bound."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.box import Box
from epsball.certificates.domain import Domain
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import sweep
from epsball.certificates.linear.windows import cropped
from epsball.certificates.propagation import Propagation, propagate
from epsball.certificates.slopes.final import Schedule
from epsball.certificates.slopes.neurons import NeuronSlopes, climbing

_WARM_UP = 3
"""Steps before progress is judged: the first and largest ones often lead down."""


class Ascent:
    """An ascent, by Adam in float32 and without error terms, of the final rows of one example that are not above 0.

    Parameters
    ----------
    bounds, specification, rows
        Bounds so far on every node, the final rows, and their bounds (1, r).
    slopes, neurons
        Where it starts: slopes of the final rows, (1, r, *shape) by rectifier, and those of neurons.
    tightest
        Whether all rows ascend, by their sum, and not only those that are not above 0.
    """

    def __init__(
        self,
        bounds: Propagation,
        specification: Tensor,
        rows: Tensor,
        slopes: Mapping[str, Tensor],
        neurons: Sequence[NeuronSlopes],
        *,
        tightest: bool = False,
    ) -> None:
        self.tightest = tightest
        self.lacking = torch.ones_like(rows[0], dtype=torch.bool) if tightest else rows[0] <= 0
        self.rows, self.specification = rows[:, self.lacking].float(), specification[:, self.lacking].float()
        self.bounds, self.neurons, self.passes = _single(bounds), neurons, 0
        self.final = {name: _leaf(slope[:, self.lacking]) for name, slope in slopes.items()}
        self.own = [{name: _leaf(slope) for name, slope in part.slopes.items()} for part in neurons]
        self.leaves = [leaf for part in (self.final, *self.own) for leaf in part.values()]
        self.best = [leaf.detach().clone() for leaf in self.leaves]
        limits = slope_limits(self.bounds)
        self.ends = [limits[name] for name in self.final]
        self.ends += [
            (cropped(limits[name][0], part.parts[name]), cropped(limits[name][1], part.parts[name]))
            for part in neurons
            for name in part.slopes
        ]

    def run(self, schedule: Schedule) -> None:
        """Ascend until every row is above 0 by more than its error terms, or would not get there at the present pace.

        If the tightest bounds are sought, ascend the sum of all rows for all steps. The error terms of a row are
        taken to be 1.25 times what its bound and the plain one differ by at first.
        """
        adam = torch.optim.Adam(self.leaves, lr=schedule.step_size, maximize=True, foreach=True)
        best = before = -torch.inf
        target = torch.zeros_like(self.rows)
        for step in range(schedule.steps + 1):
            bound = self._bound()
            if step == 0 and not self.tightest:
                target = 1.25 * (bound.detach() - self.rows).clamp(min=0)
            lead = bound - target
            least = (lead.sum() if self.tightest else lead.min()).item()
            if least > best:
                best, self.best = least, [leaf.detach().clone() for leaf in self.leaves]
            hopeless = step >= _WARM_UP and least + (schedule.steps - step) * (least - before) <= 0
            if step == schedule.steps or (not self.tightest and (least > 0 or hopeless)):
                break
            before = least
            adam.param_groups[0]["lr"] = schedule.size(step)
            adam.zero_grad()
            (lead if self.tightest else lead.clamp(max=0)).sum().backward()
            adam.step()
            with torch.no_grad():
                for leaf, ends in zip(self.leaves, self.ends, strict=True):
                    leaf.nan_to_num_().clamp_(*ends)

    def best_neurons(self) -> list[NeuronSlopes]:
        """Return the neurons with the slopes of the best bound found."""
        rest = iter(self.best[len(self.final) :])
        return [part.having({name: next(rest) for name in part.slopes}) for part in self.neurons]

    def best_final(self, slopes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return slopes of all final rows, with those of the best bound found for the rows that ascended."""
        chosen = {name: slope.clone() for name, slope in slopes.items()}
        for name, best in zip(self.final, self.best, strict=False):
            chosen[name][:, self.lacking] = best.to(chosen[name].dtype)
        return chosen

    def _bound(self) -> Tensor:
        """Return the final rows' bounds, a function of all slopes."""
        bounds = self.bounds
        chosen = [part.having(slopes) for part, slopes in zip(self.neurons, self.own, strict=True)]
        now = propagate(
            bounds.graph,
            bounds.domain,
            PLAIN,
            parameters=bounds.parameters,
            boxes=bounds.boxes,
            refine=climbing(chosen),
        )
        limits = {name: (low.detach(), high.detach()) for name, (low, high) in slope_limits(now).items()}
        slopes = {name: leaf.clamp(*limits[name]) for name, leaf in self.final.items()}
        # Forward, and except in the last step backward.
        self.passes += 2 * (self.rows.shape[1] + sum(2 * len(part.neurons) for part in self.neurons))
        return sweep(now, bounds.graph.output, Coefficients(self.specification), slopes=slopes)


def _leaf(slope: Tensor) -> Tensor:
    return slope.detach().float().clone().requires_grad_()


def _single(bounds: Propagation) -> Propagation:
    """Return bounds in float32, and without error terms."""
    domain = bounds.domain
    return Propagation(
        graph=bounds.graph,
        parameters={name: tensor.float() for name, tensor in bounds.parameters.items()},
        domain=Domain(
            box=_single_box(domain.box), centre=domain.centre.float(), norm=domain.norm, radius=domain.radius
        ),
        arithmetic=PLAIN,
        boxes={name: _single_box(box) for name, box in bounds.boxes.items()},
    )


def _single_box(box: Box) -> Box:
    return Box(box.low.float(), box.high.float())
