"""The options of a training that do not belong to its objective.

The command line has the same ones: this module imports nothing heavy.
"""

from dataclasses import dataclass
from typing import get_args

from epsball.checks import check_counts, check_seed
from epsball.errors import InputError, lookup
from epsball.names import OptimiserName, Precision, ScheduleName

_SHARE = "is a share of the steps, not a number of epochs (20 of 70 epochs are 0.286), and"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser, schedule, split and everything else that is independent of the objective.

    Parameters
    ----------
    epochs
        Passes over the training part.
    batch_size
        Examples per step over all processes. The batches of an epoch differ by at most one
        example; all are used.
    optimiser
        The optimiser; sgd is that of Nesterov.
    lr
        Learning rate: the highest of the schedule.
    momentum
        Momentum of SGD; Adam takes none.
    weight_decay
        Weight decay: the factor of half the squared norm of the weights.
    schedule
        Schedule of the learning rate.
    warm_up
        Share of the steps over which the radius rises linearly from 0, in [0, 1).
    ema
        Exponential average of the weights with this decay per step, evaluated and written in
        their place; 0 is none. At most one of ema and swa.
    swa
        Mean of the weights at the ends of the epochs after this share of the run, evaluated and
        written in their place; 0 is none.
    label_smoothing
        Mass taken from the label and spread over all classes in the outer cross-entropy.
    augment
        crop=4,flip,cutout=8 or a part of it: padding of the random crop, horizontal flip,
        side of the square cut out. Empty is none.
    precision
        Arithmetic of the steps: float32 is the module's own dtype, bf16 is autocast; the dtype of
        the weights does not change.
    compile
        Whether the network runs through PyTorch's compiler.
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
                of = "" if name in ("ema", "label_smoothing") else f"{_SHARE} "
                raise InputError(f"{name} is {getattr(self, name)}; it {of}lies in [0, 1); 0 is none.")
        if self.ema and self.swa:
            raise InputError(f"ema is {self.ema} and swa {self.swa}; the weights have one average: set one to 0.")
        lookup(dict.fromkeys(get_args(Precision)), self.precision, "precision")
        read_augmentation(self.augment)


def read_augmentation(text: str) -> list[tuple[str, int]]:
    """Return the names and sizes in ``crop=4,flip,cutout=8``, in the order written; a flip has size 0.

    Raises
    ------
    InputError
        If a part is unknown, or its number is not a whole number of at least 1.
    """
    return [_read(part.strip()) for part in text.split(",")] if text.strip() else []


def _read(part: str) -> tuple[str, int]:
    name, _, number = part.partition("=")
    if lookup({"crop": True, "flip": False, "cutout": True}, name, "augmentation"):
        if not number.isdecimal() or int(number) < 1:
            raise InputError(f"augment '{part}' needs a whole number of at least 1; write {name}=4.")
        return name, int(number)
    if number:
        raise InputError(f"augment '{part}' takes no number; write flip.")
    return name, 0
