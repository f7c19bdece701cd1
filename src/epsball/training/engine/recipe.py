"""The options of a training run that do not belong to its objective."""

from dataclasses import dataclass
from typing import Literal

from epsball.attacks.engine.evaluator import PRECISIONS, Precision
from epsball.checks import check_counts
from epsball.errors import InputError, lookup
from epsball.randomness import check_seed
from epsball.training.engine.augmentation import parse_augmentation

OptimiserName = Literal["sgd", "adam"]
ScheduleName = Literal["constant", "cosine", "piecewise", "one-cycle"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser, schedule, split and everything else that is independent of the objective.

    Parameters
    ----------
    epochs, batch_size
        Passes over the training part, and examples per step over all processes (the batches of
        an epoch differ by at most one example; all are used).
    optimiser, lr, momentum, weight_decay
        ``"sgd"`` (Nesterov) or ``"adam"``, with their numbers; Adam takes no momentum.
    schedule
        ``"constant"``, ``"cosine"``, ``"piecewise"`` or ``"one-cycle"``.
    warm_up
        Share of the steps over which the radius rises linearly from 0, in [0, 1).
    ema, swa
        Average of the weights, which is evaluated and written in their place: exponential, with
        this decay per step; or the mean of the weights at the ends of the epochs after this share
        of the run. At most one of them; 0 is none.
    label_smoothing
        Mass taken from the label and spread over all classes in the outer cross-entropy.
    augment
        ``"crop=4,flip,cutout=8"`` or a part of it: padding of the random crop, horizontal flip,
        side of the square cut out. Empty is none.
    precision
        ``"float32"`` (the module's own dtype), or ``"bf16"`` autocast; the dtype of the weights
        does not change.
    compile
        Whether the network runs through `torch.compile`.
    holdout
        Share of the training data held out for the accuracies of each epoch; at least 1 example.
    seed
        Seed of the split, the order, the perturbations and the module's own draws.

    Examples
    --------
    >>> import epsball as eb
    >>> recipe = eb.training.Recipe(epochs=5, optimiser="adam", lr=1e-3, ema=0.999)
    >>> recipe.schedule
    'cosine'
    """

    epochs: int = 10
    batch_size: int = 128
    optimiser: OptimiserName = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: ScheduleName = "cosine"
    warm_up: float = 0.0
    ema: float = 0.0
    swa: float = 0.0
    label_smoothing: float = 0.0
    augment: str = ""
    precision: Precision = "float32"
    compile: bool = False
    holdout: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "epochs", "batch_size")
        check_seed(self.seed)
        if not 0 < self.holdout < 1:
            raise InputError(f"holdout is {self.holdout}; it is the share of training data held out, in (0, 1).")
        for name in ("warm_up", "ema", "swa", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it lies in [0, 1); 0 is none.")
        if self.ema and self.swa:
            raise InputError(f"ema is {self.ema} and swa {self.swa}; the weights have one average: set one to 0.")
        lookup(dict.fromkeys(PRECISIONS), self.precision, "precision")
        parse_augmentation(self.augment)
