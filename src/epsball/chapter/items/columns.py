"""Columns that many items measure, one entry per example."""

from jaxtyping import Float, Int64
from torch import Tensor

from epsball.attacks import Attack, attack
from epsball.ball import Ball
from epsball.classifier import Classifier

SEARCH = "pgd,steps=20,restarts=2"
"""PGD-20 from two starts, the attack of items that do not compare attacks."""

Examples = tuple[Float[Tensor, "n *shape"], Int64[Tensor, " n"]]


def right(classifier: Classifier, examples: Examples) -> list[bool]:
    """Return whether each example is classified correctly."""
    x, y = examples
    return (classifier.logits(x).argmax(1) == y).tolist()


def stands(
    classifier: Classifier, examples: Examples, ball: Ball, method: str | Attack = SEARCH, *, seed: int = 0
) -> list[bool]:
    """Return whether each example is correct and stands under an attack."""
    return (~attack(classifier, *examples, ball, method=method, seed=seed).broken).tolist()


def least_margins(
    classifier: Classifier, examples: Examples, ball: Ball, method: str | Attack = SEARCH, *, seed: int = 0
) -> list[float]:
    """Return the least margin that an attack reaches on each example when nothing stops it."""
    return attack(classifier, *examples, ball, method=method, seed=seed, stop="never").margin.tolist()
