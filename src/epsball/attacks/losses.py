"""Per-example losses that attacks ascend: each maps logits (n, classes) and labels (n,) to (n,).

A logit of -infinity masks its class: each loss is that of the logits without it.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from epsball.classifier.margins import largest_other
from epsball.errors import InputError, lookup

Logits = Float[Tensor, "n classes"]
Labels = Int64[Tensor, " n"]
PerExample = Float[Tensor, " n"]
Loss = Callable[[Tensor, Tensor], Tensor]
TargetedLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
LossName = Literal["cross-entropy", "margin", "dlr", "rescaled-cross-entropy"]
TargetedLossName = Literal["targeted-dlr", "targeted-margin"]


def cross_entropy(logits: Logits, y: Labels) -> PerExample:
    """Return -log softmax(z)_y."""
    return functional.cross_entropy(logits, y, reduction="none")


def margin(logits: Logits, y: Labels) -> PerExample:
    """Return max_{j != y} z_j - z_y, the negative margin: positive where the example is misclassified."""
    return largest_other(logits, y) - logits.gather(1, y[:, None])[:, 0]


def dlr(logits: Logits, y: Labels) -> PerExample:
    """Return the difference of logits ratio -(z_y - max_{j != y} z_j) / (z_(1) - z_(3)).

    z_(k) is the k-th largest logit. Invariant to shift and scale of the logits. With two classes
    (that are not masked) there is no third logit and the ratio would be constant: the margin is used.

    References
    ----------
    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020, eq. (4).
    """
    if logits.shape[1] < 3:
        return margin(logits, y)
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / _finite(top[:, 0] - top[:, 2] + 1e-12)


def targeted_margin(logits: Logits, y: Labels, target: Labels) -> PerExample:
    """Return z_t - z_y."""
    return (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None]))[:, 0]


def targeted_dlr(logits: Logits, y: Labels, target: Labels) -> PerExample:
    """Return -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2).

    With fewer than four classes (that are not masked) the denominator is not defined: z_t - z_y is used.

    References
    ----------
    Croce and Hein (2020), eq. (5).
    """
    gap = targeted_margin(logits, y, target)
    if logits.shape[1] < 4:
        return gap
    top = logits.topk(4, dim=1).values
    return gap / _finite(top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + 1e-12)


def _finite(spread: PerExample) -> PerExample:
    """Return differences of logits, 1 where one of the logits is masked."""
    return torch.where(spread.isinf(), 1.0, spread)


def kl(logits: Logits, reference: Logits) -> PerExample:
    """Return KL(softmax(reference) || softmax(logits)), the inner loss of TRADES.

    References
    ----------
    Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML 2019.
    """
    log_p, log_q = reference.log_softmax(1), logits.log_softmax(1)
    return (log_p.exp() * unmasked(log_p - log_q, reference)).sum(1)


def unmasked(values: Logits, logits: Logits) -> Logits:
    """Return values by class with 0 for the classes that logits mask."""
    return torch.where(logits == -torch.inf, 0.0, values)


def rescaled(loss: Loss, gap: float = 1.0) -> Loss:
    """Return a loss of logits shrunk until the margin is at most `gap`: softmax and its gradient do not saturate.

    z' = z min(1, gap / abs(z_y - max_{j != y} z_j)), the factor taken as a constant. A model that scales its
    logits by 1000 has a cross-entropy gradient of exactly 0; this loss is unaffected.
    """

    def of_shrunk(logits: Logits, y: Labels) -> PerExample:
        # At most the largest number, since 0 times a masked logit is NaN.
        scale = gap / margin(logits, y).detach().abs().clamp(gap, torch.finfo(logits.dtype).max)
        return loss(logits * scale[:, None], y)

    return of_shrunk


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "rescaled-cross-entropy": rescaled(cross_entropy),
}

TARGETED: dict[str, TargetedLoss] = {"targeted-dlr": targeted_dlr, "targeted-margin": targeted_margin}


def resolve(loss: str | Loss) -> Loss:
    """Return the loss of that name, or the callable, which must return one value per row.

    Raises
    ------
    InputError
        If no loss has that name, or it is one that needs targets.
    """
    if callable(loss):
        return _per_example(loss)
    if loss in TARGETED:
        raise InputError(
            f"the loss '{loss}' needs target classes: take TargetedAPGD, or PGD(targets=...) with a plain loss."
        )
    return lookup(LOSSES, loss, "loss")


def resolve_targeted(loss: str | TargetedLoss) -> TargetedLoss:
    """Return the targeted loss of that name, or the callable, which must return one value per row.

    Raises
    ------
    InputError
        If no targeted loss has that name.
    """
    if callable(loss):
        return _per_example(loss)
    return lookup(TARGETED, loss, "targeted loss")


def _per_example(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a user's loss in the dtype of the logits; an InputError where it does not have one value per row."""

    def checked(logits: Logits, *labels: Labels) -> PerExample:
        value = loss(logits, *labels)
        if not isinstance(value, Tensor):
            raise InputError(f"the loss returned {value!r}; a loss is a tensor of one value per row, ({len(logits)},).")
        if value.shape != logits.shape[:1]:
            raise InputError(
                f"the loss returned {tuple(value.shape)} for {len(logits)} rows; a loss is one value per row, "
                f"({len(logits)},), because each example is searched by itself. Use reduction='none'."
            )
        return value.to(logits.dtype)

    return checked
