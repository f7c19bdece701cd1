"""HopSkipJump: a minimum-norm attack that sees decisions only."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, Domain, NormName
from epsball.attacks.parts.tensors import column
from epsball.ball import Ball
from epsball.checks import check_counts
from epsball.classifier.margins import margins
from epsball.errors import InputError
from epsball.randomness import Keys

_BLEND = 10
"""Halvings of the blend with noise: to 2^-10, the published 0.001."""

Between = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps examples, points and shares to the points at these shares of the way between them."""

_FIRST_SCALE = 0.1
_HALVINGS = 30
_DIRECTIONS = 16
"""Directions per call: a fixed number, so that the number of active examples changes no sum."""


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(Attack):
    """HopSkipJump, for linf and l2; needs the predicted class only.

    From a misclassified point it walks along the decision boundary: project onto the boundary by
    binary search towards x, estimate the boundary's normal from decisions at random points beside
    it, step along it.

    Parameters
    ----------
    iterations
        Number of steps along the boundary.
    first_queries, most_queries
        Iteration t estimates the normal from min(first_queries sqrt(t), most_queries) decisions.
    tries
        Images tried as a misclassified start, then blended towards x: uniform noise as published,
        in turn with corners of the box. Examples for which all are classified correctly are not searched.

    References
    ----------
    Chen, Jordan and Wainwright, "HopSkipJumpAttack: a query-efficient decision-based attack",
    IEEE S&P 2020, algorithm 2 and appendix A.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.HopSkipJump(iterations=2, first_queries=30)
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=method).broken
    tensor([True])
    """

    name: ClassVar[str] = "hop-skip-jump"
    domain: ClassVar[Domain] = "box"
    norms: ClassVar[tuple[NormName, ...]] = ("linf", "l2")
    tolerance: ClassVar[float | None] = 0.3
    gradient_free: ClassVar[bool] = True

    iterations: int = 64
    first_queries: int = 100
    most_queries: int = 10_000
    tries: int = 100

    def __post_init__(self) -> None:
        check_counts(self, "iterations", "first_queries", "most_queries", "tries")

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Walk along the boundary around the active examples."""
        if ball.low is None or ball.high is None:
            raise InputError("HopSkipJump starts from noise in the box, but the ball has none; give low= and high=.")
        query.begin(0)
        walk = _Walk(query=query, ball=ball, keys=keys, low=ball.low, high=ball.high)
        index, x, points = walk.start(self.tries)
        for t in range(1, self.iterations + 1):
            active = query.rows_of(index) >= 0
            index, x, points = index[active], x[active], points[active]
            if len(index) == 0:
                return
            count = min(int(self.first_queries * math.sqrt(t)), self.most_queries)
            points = walk.hop(index, x, walk.skip(index, x, points), t, count)
        walk.skip(index, x, points)


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """The moves, on rows that belong to the examples at positions `index` of the call.

    Rows whose example has left are not evaluated any more and count as classified correctly.
    """

    query: Query
    ball: Ball
    keys: Keys
    low: float
    high: float

    def wrong(
        self, index: Int64[Tensor, " m"], points: Float[Tensor, "m *shape"], asked: Bool[Tensor, " m"] | None = None
    ) -> Bool[Tensor, " m"]:
        """Return which of the requested points are misclassified."""
        rows = self.query.rows_of(index)
        live = torch.nonzero(rows >= 0 if asked is None else asked & (rows >= 0))[:, 0]
        out = torch.zeros(len(index), dtype=torch.bool, device=index.device)
        if len(live):
            y = self.query.y[rows[live]]
            out[live] = margins(self.query.logits(points[live], rows[live]), y) <= 0
        return out

    def start(self, tries: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return positions, examples and misclassified noise blended towards them, where some was found."""
        index, x = self.query.index, self.query.x
        points, found = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for attempt in range(tries):
            noise = self.keys[index].derive("noise", attempt).uniform(x.shape[1:], x.dtype)
            # Every other image is a corner of the box, for models that give all grey noise one class.
            noise = noise.round() if attempt % 2 else noise
            noise = self.low + (self.high - self.low) * noise
            hit = self.wrong(index, noise, ~found)
            points[hit], found = noise[hit], found | hit
            if bool(found.all()):
                break
        index, x, points = index[found], x[found], points[found]
        return index, x, self._bisect(index, x, points, _BLEND, self._blend)

    def skip(self, index: Tensor, x: Tensor, points: Tensor) -> Tensor:
        """Return points moved towards their examples as far as they stay misclassified, up to theta."""
        halvings = math.ceil(-math.log2(self._theta(x[0].numel())))
        return self._bisect(index, x, points, halvings, self._clip if self.ball.norm == "linf" else self._blend)

    def hop(self, index: Tensor, x: Tensor, points: Tensor, t: int, count: int) -> Tensor:
        """Return points one step along the estimated normal: from distance / sqrt(t), halved until misclassified."""
        distance = self.ball.distance(points, x).to(x.dtype)
        normal = self._normal(index, points, self._scale(distance, t, x[0].numel()), count, t)
        size = distance / math.sqrt(t)
        moved, found = points.clone(), torch.zeros_like(index, dtype=torch.bool)
        for _ in range(_HALVINGS):
            trial = (points + column(size, points) * normal).clamp(self.low, self.high)
            hit = self.wrong(index, trial, ~found)
            moved[hit], found = trial[hit], found | hit
            if bool((found | (self.query.rows_of(index) < 0)).all()):
                break
            size = torch.where(found, size, size / 2)
        return moved

    def _theta(self, d: int) -> float:
        """Return the tolerance of the binary search: d^-2 for linf, d^-3/2 for l2."""
        return min(0.5, float(d) ** (-2.0 if self.ball.norm == "linf" else -1.5))

    def _scale(self, distance: Tensor, t: int, d: int) -> Tensor:
        """Return delta_t: at first a tenth of the box, then d theta or sqrt(d) theta times the distance."""
        if t == 1:
            return torch.full_like(distance, _FIRST_SCALE * (self.high - self.low))
        return self._theta(d) * distance * (d if self.ball.norm == "linf" else math.sqrt(d))

    def _normal(self, index: Tensor, points: Tensor, scale: Tensor, count: int, t: int) -> Tensor:
        """Return the update direction: mean of (phi_b - mean phi) u_b, of unit length, or its sign for linf."""
        weighted, plain = torch.zeros_like(points), torch.zeros_like(points)
        phi_sum = points.new_zeros(len(points))
        for first in range(0, count, _DIRECTIONS):
            m = min(_DIRECTIONS, count - first)
            u = self._directions(self.keys[index].derive("normal", t, first), m, points)
            delta = scale.view(-1, 1, *[1] * (points.ndim - 1))
            beside = (points[:, None] + delta * u).clamp(self.low, self.high)
            u = (beside - points[:, None]) / (delta + torch.finfo(points.dtype).tiny)
            phi = 2.0 * self.wrong(index.repeat_interleave(m), beside.flatten(0, 1)).view(-1, m).to(u.dtype) - 1.0
            weighted += torch.einsum("nm,nm...->n...", phi, u)
            plain += u.sum(1)
            phi_sum += phi.sum(1)
        mean = phi_sum / count
        baseline = torch.where(mean.abs() == 1, torch.zeros_like(mean), mean)
        direction = (weighted - column(baseline, plain) * plain).flatten(1)
        direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp(min=1e-12)
        direction = direction.sign() if self.ball.norm == "linf" else direction
        return direction.view_as(points)

    def _directions(self, keys: Keys, count: int, points: Tensor) -> Tensor:
        """Return unit directions (n, count, *shape): of uniform coordinates for linf, Gaussian for l2."""
        shape = (count, *points.shape[1:])
        u = (
            keys.uniform(shape, points.dtype).mul_(2).sub_(1)
            if self.ball.norm == "linf"
            else keys.normal(shape, points.dtype)
        )
        return u / torch.linalg.vector_norm(u.flatten(2), dim=2).view(len(u), count, *[1] * (points.ndim - 1))

    def _bisect(self, index: Tensor, x: Tensor, points: Tensor, halvings: int, between: Between) -> Tensor:
        """Return the misclassified point nearest to x on the way from x to each point, by bisection."""
        low, high = x.new_zeros(len(x)), x.new_ones(len(x))
        for _ in range(halvings):
            middle = (low + high) / 2
            hit = self.wrong(index, between(x, points, middle))
            low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
        return between(x, points, high)

    def _blend(self, x: Tensor, points: Tensor, share: Tensor) -> Tensor:
        """Return (1 - share) x + share points."""
        return torch.lerp(x, points, column(share, x))

    def _clip(self, x: Tensor, points: Tensor, share: Tensor) -> Tensor:
        """Return points clipped to the linf ball of `share` of their distance."""
        reach = column(share * self.ball.distance(points, x).to(x.dtype), x)
        return torch.clamp(points, x - reach, x + reach)
