"""The numbers of a training run that do not belong to its objective."""

from dataclasses import dataclass

from epsball.errors import InputError
from epsball.randomness import check_seed


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser, schedule and split of a training run.

    Parameters
    ----------
    epochs, batch_size
        Passes over the training part, and examples a step (the batches of an epoch differ by
        at most one example; all are used).
    optimiser, lr, momentum, weight_decay
        ``"sgd"`` (Nesterov) or ``"adam"``, with their numbers; Adam takes no momentum.
    schedule
        ``"constant"``, ``"cosine"``, ``"piecewise"`` or ``"one-cycle"``.
    holdout
        Share of the training data held out for the accuracies of each epoch; at least 1 example.
    seed
        Seed of the split, the order, the perturbations and the module's own draws.
    """

    epochs: int = 10
    batch_size: int = 128
    optimiser: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    holdout: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} is {value!r}; it must be a whole number, at least 1.")
        check_seed(self.seed)
        if not 0 < self.holdout < 1:
            raise InputError(f"holdout is {self.holdout}; it is the share of training data held out, in (0, 1).")
