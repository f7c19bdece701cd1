"""The accuracies recorded after each epoch."""

from jaxtyping import Float, Int64
from torch import Tensor

from epsball.attacks import PGD, attack
from epsball.ball import Ball
from epsball.classifier import Classifier

METHOD = PGD(steps=10)


def held_out_accuracy(
    classifier: Classifier, x: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"], ball: Ball | None, seed: int
) -> tuple[float, float | None]:
    """Return natural accuracy and accuracy under PGD-10 (None without a ball), each on all of x."""
    if ball is None:
        return float((classifier.logits(x).argmax(1) == y).double().mean()), None
    result = attack(classifier, x, y, ball, method=METHOD, seed=seed)
    return 1.0 - float((result.distance == 0).double().mean()), result.accuracy
