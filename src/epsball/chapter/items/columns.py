"""Columns that many items measure, one entry per example."""

from collections.abc import Sequence

from jaxtyping import Float, Int64
from torch import Tensor

from epsball.attacks import Attack, attack
from epsball.ball import Ball
from epsball.chapter.laboratory import Laboratory
from epsball.classifier import Classifier

SEARCH = "pgd,steps=20,restarts=2"
"""PGD-20 from two starts, the attack of items that do not compare attacks."""

Examples = tuple[Float[Tensor, "n *shape"], Int64[Tensor, " n"]]


def right(classifier: Classifier, examples: Examples) -> list[bool]:
    """Return whether each example is classified correctly."""
    x, y = examples
    return (classifier.logits(x).argmax(1) == y).tolist()


def accuracies(laboratory: Laboratory, names: Sequence[str]) -> dict[str, list[bool]]:
    """Return, for each network of the subject, which examples are right and which stand under `SEARCH`."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=None, default=2000))
    rows: dict[str, list[bool]] = {}
    for name in names:
        network = laboratory.network(name)
        rows[f"{name}.right"] = right(network, examples)
        rows[f"{name}.stands"] = stands(network, examples, laboratory.ball(), seed=laboratory.seed)
    return rows


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
