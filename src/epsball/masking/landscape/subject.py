"""What a landscape is of: checked examples, a classifier in use, a ball."""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from epsball.ball import Ball, Neighbourhood
from epsball.classifier import Classifier
from epsball.masking.geometry.surface import Surface
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """Examples and what their landscapes are drawn with.

    Parameters
    ----------
    classifier, ball, seed
        As for `landscape`.
    x, y
        Examples (n, *shape) on the device and in the dtype of the model, and their labels (n,).
    around
        The neighbourhoods of x.
    margin, cross_entropy
        The two functions of the input.
    keys
        One key per example.
    """

    classifier: Classifier
    ball: Ball
    seed: int
    x: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]
    around: Neighbourhood
    margin: Surface
    cross_entropy: Surface
    keys: Keys

    @classmethod
    def of(cls, classifier: Classifier, x: Tensor, y: Tensor, ball: Ball, seed: int) -> "Subject":
        """Return the subject of checked examples."""
        margin = Surface.of(classifier, x, y, "margin")
        return cls(
            classifier=classifier,
            ball=ball,
            seed=seed,
            x=margin.x,
            y=margin.y,
            around=ball.at(margin.x),
            margin=margin,
            cross_entropy=Surface.of(classifier, x, y, "cross-entropy"),
            keys=Keys.of_examples(margin.x, margin.y, seed).derive("landscape"),
        )

    def __len__(self) -> int:
        return len(self.x)
