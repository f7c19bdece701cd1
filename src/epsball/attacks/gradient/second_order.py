"""Second-order attack: trust-region steps on curvature measured at the scale of the radius."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack
from epsball.attacks.parts.objective import of_labels
from epsball.attacks.parts.tensors import column
from epsball.ball import Ball
from epsball.checks import check_counts
from epsball.randomness import Keys

_RANK = 1e-10
"""Share of the largest squared singular value below which a direction counts as dependent."""

_FRESH = 1e-4
"""Share of its length that a direction must have outside the span of the previous ones to be new."""

_NOTHING = 1e-300

_BISECTIONS = 60

_LEAST = 2.0**-10
"""Scale, in radii, below which a search without progress starts from scratch."""


@dataclass(frozen=True, kw_only=True)
class SecondOrder(Attack):
    """Trust-region ascent of the loss on its curvature at the scale of the radius.

    ReLU networks have zero Hessian almost everywhere, saturated or dead ones no gradient: so nothing
    is differentiated at a point. At each step, pairs of gradients a finite distance apart,

        s_j = a_j - b_j,   y_j = grad l(a_j) - grad l(b_j) = H s_j,   g = mean of all these gradients,

    give the gradient and Hessian-vector products of the loss smoothed over that distance, first along
    random displacements, then along the steepest ascent of g and the Krylov directions H s_1, H s_2, ...
    The step maximises g d + d H d / 2 over the span of the s_j within a trust region. If the loss grows,
    the step is taken and the region grows; else the region shrinks, and the distance of the pairs with
    it. All points lie in ball and box. A step costs 2 (samples + krylov) gradients and one forward.

    Parameters
    ----------
    steps
        Number of steps.
    samples
        Random displacements per step, uniform in the ball of that scale.
    krylov
        Krylov directions per step.
    restarts
        Number of starts: the first at the example itself, the others at uniform points.
    loss
        As for `PGD`; the default, the margin, does not saturate with the softmax.

    References
    ----------
    Moré and Sorensen (1983) for the step; Nocedal and Wright, "Numerical optimization", 2006,
    chapters 4 and 6 (trust regions, secant pairs); Miyato et al., "Virtual adversarial training",
    TPAMI 2018 (Hessian-vector products by finite differences, for the top eigenvector).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.SecondOrder(steps=2)).broken
    tensor([True])
    """

    name: ClassVar[str] = "second-order"
    tolerance: ClassVar[float | None] = 0.01

    steps: int = 20
    samples: int = 4
    krylov: int = 4
    restarts: int = 1
    loss: losses.LossName | losses.Loss = "margin"

    def __post_init__(self) -> None:
        check_counts(self, "steps", "samples", "krylov", "restarts")
        losses.resolve(self.loss)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        loss = losses.resolve(self.loss)
        for restart in range(self.restarts):
            query.begin(restart)
            own = keys.derive(restart)
            points = query.x if restart == 0 else query.neighbourhood.sample(own[query.index])
            search = _Search(query=query, ball=ball, loss=loss, state=_State.at(points))
            search.evaluate_start()
            for step in range(self.steps):
                search.step(own.derive(step), self.samples, self.krylov)


@dataclass(frozen=True, kw_only=True)
class _State:
    """The search's state for each active example.

    Parameters
    ----------
    points, value
        The iterate and its loss.
    scale
        Scale of the displacements and of the trust region, in radii.
    S, Y
        Secant pairs of this step, (n, k, d).
    gradients
        Sum of the gradients of this step, (n, d).
    """

    points: Tensor
    value: Tensor
    scale: Tensor
    S: Tensor
    Y: Tensor
    gradients: Tensor

    @classmethod
    def at(cls, points: Float[Tensor, "n *shape"]) -> "_State":
        """Return the state at a start."""
        rows = points.flatten(1)
        none = rows.new_zeros(len(rows), 0, rows.shape[1])
        value, scale = rows.new_full((len(rows),), -torch.inf), rows.new_ones(len(rows))
        return cls(points=points, value=value, scale=scale, S=none, Y=none, gradients=torch.zeros_like(rows))

    def take(self, rows: Tensor | None) -> "_State":
        """Return the state of some of the rows (None: of all)."""
        return self if rows is None else _State(**{name: value[rows] for name, value in vars(self).items()})


@dataclass(kw_only=True)
class _Search:
    """The steps of one restart."""

    query: Query
    ball: Ball
    loss: losses.Loss
    state: _State

    def evaluate_start(self) -> None:
        """Evaluate the start."""
        y = self.query.y
        value = self.loss(self.query.logits(self.state.points), y)
        self.state = replace(self.state, value=value).take(self.query.going_on)

    def step(self, keys: Keys, samples: int, krylov: int) -> None:
        """Measure the curvature around each iterate and take a trust-region step."""
        state = self.state
        none = state.S[:, :0]
        self.state = replace(state, S=none, Y=none, gradients=torch.zeros_like(state.gradients))
        for number in range(samples):
            self._measure(self._random(keys.derive(number)))
        for number in range(krylov):
            fresh = self._steepest() if number == 0 else self._fresh(self.state.Y[:, number - 1])
            nothing = ~fresh.flatten(1).any(1)
            self._measure(torch.where(column(nothing, fresh), self._random(keys.derive(samples + number)), fresh))
        self._move(keys)

    def _random(self, keys: Keys) -> Tensor:
        """Return displacements uniform in the ball (as the box allows), times the scale."""
        drawn = self.query.neighbourhood.sample(keys[self.query.index]) - self.query.x
        return column(self.state.scale, drawn) * drawn

    def _steepest(self) -> Tensor:
        """Return the displacements of length scale * radius along the mean gradients' ascent in the ball's norm."""
        gradient = self.state.gradients.view_as(self.state.points)
        direction = self.query.neighbourhood.ascent(gradient, self.state.points)
        return column(self.state.scale * float(self.ball.radius), direction) * direction

    def _fresh(self, directions: Float[Tensor, "n d"]) -> Tensor:
        """Return displacements of that length along the new part of some directions; 0 where nothing is new."""
        rows = _orthogonal(directions, self.state.S).view_as(self.state.points)
        length = self.ball.distance(rows, torch.zeros_like(rows))
        unit = rows / column(length.masked_fill(length == 0, 1.0), rows)
        return column(self.state.scale * float(self.ball.radius), rows) * unit

    def _measure(self, displacement: Tensor) -> None:
        """Add the secant pair of the two points on either side of each iterate."""
        n, points = len(self.query.x), self.state.points
        ends = [self.query.neighbourhood.project(points + way * displacement) for way in (1, -1)]
        rows = torch.arange(n, device=points.device).repeat(2)
        _, _, (gradient,) = self.query.gradient(torch.cat(ends), [of_labels(self.query, self.loss)], rows)
        a, b = gradient.flatten(1).split(n)
        s = (ends[0] - ends[1]).flatten(1)
        state = self.state
        state = replace(
            state,
            S=torch.cat([state.S, s[:, None]], dim=1),
            Y=torch.cat([state.Y, (a - b)[:, None]], dim=1),
            gradients=state.gradients + a + b,
        )
        self.state = state.take(self.query.going_on)

    def _move(self, keys: Keys) -> None:
        """Take the trust-region step where it raises the loss; adapt the scale."""
        state = self.state
        sign = keys[self.query.index].derive("sign").uniform((), torch.float64).sub(0.5).sign()
        d = _model_step(state.S, state.Y, state.gradients / (2 * state.S.shape[1]), sign)
        trial = self.query.neighbourhood.project(state.points + d.view_as(state.points))
        y = self.query.y
        value = self.loss(self.query.logits(trial), y)
        better = value > state.value
        scale = torch.where(better, (2 * state.scale).clamp(max=2.0), state.scale / 2)
        moved = replace(
            state,
            points=torch.where(column(better, trial), trial, state.points),
            value=torch.where(better, value, state.value),
            scale=torch.where(scale < _LEAST, torch.ones_like(scale), scale),
        )
        self.state = moved.take(self.query.going_on)


def _model_step(
    S: Float[Tensor, "n k d"], Y: Float[Tensor, "n k d"], g: Float[Tensor, "n d"], sign: Float[Tensor, " n"]
) -> Float[Tensor, "n d"]:
    """Return the maximiser of g d + d H d / 2 over d in the span of S, norm(d) <= the longest of S / 2.

    With the Gram matrix S S' = V diag(m) V', the rows of m^-1/2 V' S are an orthonormal basis Q; in it
    H is T = Q H Q' = m^-1/2 V' (Y S') V m^-1/2, made symmetric, and g is Q g. Dependent directions drop out.
    """
    S64, Y64 = S.double(), Y.double()
    basis, longest = _orthonormal(S64)
    T = basis @ (Y64 @ S64.mT) @ basis.mT
    c = (basis @ (S64 @ g.double()[..., None]))[..., 0]
    s = solve_trust_region((T + T.mT) / 2, c, longest / 2, sign)
    return ((basis.mT @ s[..., None]).mT @ S64)[:, 0].to(S.dtype)


def _orthonormal(S: Float64[Tensor, "n k d"]) -> tuple[Float64[Tensor, "n k k"], Float64[Tensor, " n"]]:
    """Return m^-1/2 V', whose product with S has orthonormal rows (0 for dependent ones), and the longest row of S."""
    gram = S @ S.mT
    m, V = torch.linalg.eigh(gram)
    kept = m > _RANK * m.amax(1, keepdim=True)
    root = torch.where(kept, m.clamp(min=_NOTHING).rsqrt(), torch.zeros_like(m))
    return root[..., None] * V.mT, gram.diagonal(dim1=1, dim2=2).amax(1).sqrt()


def _orthogonal(rows: Float[Tensor, "n d"], S: Float[Tensor, "n k d"]) -> Float[Tensor, "n d"]:
    """Return rows minus their projection on the span of S; 0 where nothing is left."""
    S64, rest = S.double(), rows.double()
    basis, _ = _orthonormal(S64)
    for _ in range(2):  # twice, because of rounding
        along = basis @ (S64 @ rest[..., None])
        rest = rest - ((basis.mT @ along).mT @ S64)[:, 0]
    size, before = (torch.linalg.vector_norm(v, dim=1, keepdim=True) for v in (rest, rows))
    return torch.where(size > _FRESH * before, rest, torch.zeros_like(rest)).to(rows.dtype)


def solve_trust_region(
    T: Float[Tensor, "n k k"], c: Float[Tensor, "n k"], reach: Float[Tensor, " n"], sign: Float[Tensor, " n"]
) -> Float[Tensor, "n k"]:
    """Return a maximiser s of c s + s T s / 2 over norm(s) <= reach, row by row.

    s is optimal exactly if (mu - T) s = c for some mu >= 0 with mu - T positive semidefinite and
    mu (reach - norm(s)) = 0. In the eigenbasis of T, s_i = c_i / (mu - lambda_i), whose length falls
    as mu grows from max(lambda_max, 0): bisection finds mu. Where even at that end s is shorter than
    `reach` and lambda_max > 0 (the "hard case": c has nothing along the top eigenvector), the top
    eigenvector makes up the length.

    Parameters
    ----------
    T, c
        Symmetric matrices and linear parts, float64.
    reach
        Lengths of the trust regions.
    sign
        Direction along the top eigenvector in the hard case, +1 or -1.

    References
    ----------
    Moré and Sorensen, "Computing a trust region step", SIAM J. Sci. Stat. Comput. 4, 1983.
    """
    values, vectors = torch.linalg.eigh(T)
    along = (vectors.mT @ c[..., None])[..., 0]
    size = values.abs().amax(1).clamp(min=torch.finfo(T.dtype).tiny)
    low = values[:, -1].clamp(min=0.0)
    least = low + 1e-12 * size
    # At mu = lambda_max + norm(c) / reach the length is at most reach.
    high = torch.maximum(least, low + torch.linalg.vector_norm(c, dim=1) / reach.clamp(min=1e-300))
    low = least.clone()
    for _ in range(_BISECTIONS):
        mu = (low + high) / 2
        long = torch.linalg.vector_norm(_eigenbasis_step(along, values, mu), dim=1) > reach
        low, high = torch.where(long, mu, low), torch.where(long, high, mu)
    s = _eigenbasis_step(along, values, high)
    rest = (reach**2 - (s**2).sum(1)).clamp(min=0.0).sqrt()
    hard = (values[:, -1] > 0) & (rest > 1e-6 * reach)
    s[:, -1] += torch.where(hard, sign * rest, torch.zeros_like(rest))
    return (vectors @ s[..., None])[..., 0]


def _eigenbasis_step(along: Tensor, values: Tensor, mu: Tensor) -> Tensor:
    """Return c_i / (mu - lambda_i), 0 where both vanish."""
    gap = mu[:, None] - values
    return torch.where(along == 0, torch.zeros_like(along), along / gap.clamp(min=1e-300))
