"""`Neighbourhood`: ball and box around given centres, for loops."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsball.ball.exact import float_above, float_below
from epsball.ball.hyperplane import displacement
from epsball.ball.norm import Norm, Region, rows_of
from epsball.randomness import Keys


@dataclass(frozen=True)
class Neighbourhood:
    """Ball and box around each example of x, with everything that depends on x computed once.

    `Ball.at` makes it. Points have one row per example, in the order of x, and x's shape and dtype.

    Parameters
    ----------
    norm, region
        The mathematics of the norm, and its precomputed part.
    shape
        Shape of one example.
    radius, low, high
        Radius and box in float64; the box may be infinite.

    Examples
    --------
    >>> import torch
    >>> import epsball as eb
    >>> near = eb.Ball("linf", "1/4").at(torch.tensor([[0.0, 0.5]]))
    >>> near.project(torch.tensor([[-1.0, 1.0]]))
    tensor([[0.0000, 0.7500]])
    """

    norm: Norm
    region: Region
    shape: tuple[int, ...]
    radius: float
    low: float
    high: float

    @property
    def x(self) -> Float[Tensor, "n *shape"]:
        """The centres."""
        return self.region.x.view(len(self), *self.shape)

    def __len__(self) -> int:
        return len(self.region.x)

    @torch.no_grad()
    def project(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return points of ball and box: always inside, and nearest up to a stated shrink.

        linf: the nearest floats, exactly. l2 and l1: the nearest points of a ball that is smaller by
        what the rounding of this step can add (`epsball.ball.sums.SumRegion` states by how much; for
        float32 pixels about 1e-6 of the radius). Points of the smaller ball stay as they are. NaN stays
        NaN, and is not inside.
        """
        return self.region.project(rows_of(points)).view(points.shape)

    @torch.no_grad()
    def inside(self, points: Float[Tensor, "n *shape"]) -> Bool[Tensor, " n"]:
        """Return exactly which points lie in ball and box; cheap for what `project` returned."""
        return self.region.inside(rows_of(points))

    @torch.no_grad()
    def ascent(
        self, gradient: Float[Tensor, "n *shape"], points: Float[Tensor, "n *shape"]
    ) -> Float[Tensor, "n *shape"]:
        """Return the direction of unit length in which a step ascends; see `Ball.ascent`."""
        return self.norm.ascent(rows_of(gradient), rows_of(points), self.low, self.high).view(points.shape)

    @torch.no_grad()
    def clip(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the nearest points of the box, whether in the ball or not."""
        return points.clamp(*self._ends(points.dtype))

    @torch.no_grad()
    def shorten(self, points: Float[Tensor, "n *shape"], radii: Float[Tensor, " n"]) -> Float[Tensor, "n *shape"]:
        """Return the nearest points of the box and of balls of other radii, one per row, up to 2^-14 of it."""
        x = self.region.x
        w = self.norm.shorten(rows_of(points) - x, self.low - x, self.high - x, radii[:, None])
        return self.clip(w.add_(x)).view(points.shape)

    @torch.no_grad()
    def to_hyperplane(
        self, points: Float[Tensor, "n *shape"], normal: Float[Tensor, "n *shape"], gap: Float[Tensor, " n"]
    ) -> Float[Tensor, "n *shape"]:
        """Return the v of least norm with <normal, v> = gap and points + v in the box.

        If there is none, the v that comes nearest to the hyperplane; see `epsball.ball.hyperplane`.
        """
        z = rows_of(points)
        low, high = self._ends(z.dtype)
        v = displacement(self.norm.order, rows_of(normal), gap.to(z.dtype), low - z, high - z)
        return v.view(points.shape)

    def _ends(self, dtype: torch.dtype) -> tuple[float, float]:
        """Return the least and the largest float of `dtype` in the box."""
        return float_above(self.low, dtype), float_below(self.high, dtype)

    @torch.no_grad()
    def sample(self, keys: Keys) -> Float[Tensor, "n *shape"]:
        """Return points drawn uniformly from the ball without the box, then projected."""
        x = self.region.x
        return self.region.project(scatter(x, self.norm, self.radius, keys)).view(len(x), *self.shape)

    def take(self, rows: Tensor) -> "Neighbourhood":
        """Return the neighbourhood of some of the centres, by an index or mask tensor (rows,)."""
        return Neighbourhood(self.norm, self.region.take(rows), self.shape, self.radius, self.low, self.high)


def scatter(x: Float[Tensor, "n d"], norm: Norm, radius: float, keys: Keys) -> Float[Tensor, "n d"]:
    """Return x plus uniform draws from the ball without the box, added in float64 and rounded to x's dtype."""
    return norm.draw(keys, x.shape[1]).mul_(radius).add_(x).to(x.dtype)
