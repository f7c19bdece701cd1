"""A randomised classifier that keeps given guarantees at every point of the sample's balls."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.ball import Ball
from epsball.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomisedClassifier:
    """Answers class c at z with at least the largest q_i of the examples of class c whose ball holds z.

    On the balls of the sample its risk is 1 - sum_i w_i q_i; elsewhere it answers every class alike.

    Parameters
    ----------
    x, y
        (n, ...) centres and (n,) class numbers 0..C-1 of the sample.
    norm, radius
        The balls.
    guarantee
        (n,) feasible guarantees q, such as `Optimum.guarantee`.
    """

    x: Float[Tensor, "n *shape"]
    y: Int64[np.ndarray, " n"]
    norm: str
    radius: Fraction
    guarantee: Float64[np.ndarray, " n"]

    def __call__(self, z: Float[Tensor, "m *shape"]) -> Float64[np.ndarray, "m c"]:
        """Return the probabilities of the classes at the points z.

        Raises
        ------
        InputError
            If guarantees conflict at a point: they sum to more than one over classes that meet there.
        """
        ball = Ball(self.norm, self.radius, None, None)
        floor = np.zeros((len(z), int(self.y.max()) + 1))
        for i in np.flatnonzero(self.guarantee > 0.0):
            centre = self.x[int(i)].expand_as(z)
            inside = ball.contains(z, centre.to(z.dtype)).numpy()
            c = self.y[i]
            floor[inside, c] = np.maximum(floor[inside, c], self.guarantee[i])
        left = 1.0 - floor.sum(axis=1, keepdims=True)
        if left.min(initial=0.0) < -1e-6:
            raise InputError(
                f"the guarantees sum to {1.0 - left.min():.6f} at a point; over classes whose balls meet "
                "they must sum to at most one."
            )
        return floor + np.clip(left, 0.0, None) / floor.shape[1]


def randomised_classifier(
    x: Tensor, y: Tensor, norm: str, radius: Fraction, guarantee: Float64[np.ndarray, " n"]
) -> RandomisedClassifier:
    """Return the classifier over the labels of `y` in increasing order.

    Parameters
    ----------
    x, y
        The sample, as given to `optimal_risk` (floats).
    norm, radius, guarantee
        The balls and the guarantees.
    """
    classes = torch.unique(y)
    return RandomisedClassifier(
        x=x, y=torch.searchsorted(classes, y).numpy(), norm=norm, radius=radius, guarantee=guarantee
    )
