"""The trained networks of the zoo: at most twelve, each within ten CPU-minutes."""

from dataclasses import dataclass, field
from typing import Any, Literal

DataName = Literal["mnist", "cifar10"]

FGSM = "pgd,steps=1,step_size=radius,start=none"
"""One step from the example itself, the training that collapses (Wong, Rice and Kolter, ICLR 2020, section 5)."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """How one network is trained.

    Parameters
    ----------
    name
        The folder it is written to.
    data
        The data set.
    model
        The architecture.
    objective, ball
        What is minimised, and the ball it is trained for, or reported on.
    recipe
        Options of `epsball.training.Recipe`.
    examples
        Images of the training set, from the first.
    shows
        What the zoo has it for.
    """

    name: str
    data: DataName
    model: str
    objective: str
    ball: str
    shows: str
    recipe: dict[str, Any] = field(default_factory=dict)
    examples: int = 20_000


def _adam(epochs: int, lr: float = 2e-3, **more: Any) -> dict[str, Any]:
    common = {"optimiser": "adam", "weight_decay": 0.0, "schedule": "one-cycle", "precision": "bf16", "holdout": 0.01}
    return {**common, "epochs": epochs, "lr": lr, **more}


_MNIST, _CIFAR = "conv_net,widths=16:32", "conv_net,widths=32:64"

BASES = (
    Base(
        name="mnist-standard",
        data="mnist",
        model=_MNIST,
        objective="standard",
        ball="linf:0.1",
        shows="plain training",
        recipe=_adam(4),
    ),
    Base(
        name="mnist-pgd",
        data="mnist",
        model=_MNIST,
        objective="pgd,steps=5",
        ball="linf:0.2",
        shows="PGD training",
        recipe=_adam(8, warm_up=0.3),
    ),
    Base(
        name="cifar-standard",
        data="cifar10",
        model=f"{_CIFAR},batch_norm=true",
        objective="standard",
        ball="linf:8/255",
        shows="plain training, batch norm",
        recipe=_adam(8, augment="flip"),
    ),
    Base(
        name="cifar-pgd",
        data="cifar10",
        model=_CIFAR,
        objective="pgd,steps=5",
        ball="linf:8/255",
        shows="PGD training",
        recipe=_adam(10, augment="flip"),
    ),
    Base(
        name="mnist-trades",
        data="mnist",
        model=f"{_MNIST},activation=tanh",
        objective="trades,beta=3,steps=5",
        ball="linf:0.1",
        shows="TRADES, tanh",
        recipe=_adam(6),
    ),
    Base(
        name="cifar-fgsm",
        data="cifar10",
        model=_CIFAR,
        objective=FGSM,
        ball="linf:8/255",
        shows="one-step training that collapses",
        recipe=_adam(12, augment="flip"),
    ),
    Base(
        name="cifar-k-wta",
        data="cifar10",
        model=f"{_CIFAR},activation=k-wta",
        objective="standard",
        ball="linf:8/255",
        shows="plain training, k-winners-take-all",
        recipe=_adam(8, augment="flip"),
    ),
    Base(
        name="cifar-trades",
        data="cifar10",
        model=f"{_CIFAR},activation=gelu,batch_norm=true",
        objective="trades,beta=3,steps=5",
        ball="linf:8/255",
        shows="TRADES, GELU, batch norm",
        recipe=_adam(8, augment="flip"),
    ),
    Base(
        name="mnist-input-gradient",
        data="mnist",
        model=f"{_MNIST},activation=gelu",
        objective="input-gradient,weight=10",
        ball="linf:0.1",
        shows="input-gradient regularisation, GELU",
        recipe=_adam(5, precision="float32"),
    ),
    Base(
        name="mnist-fgsm",
        data="mnist",
        model=_MNIST,
        objective=FGSM,
        ball="linf:0.3",
        shows="one-step training that collapses",
        recipe=_adam(8),
    ),
    Base(
        name="cifar-fgsm-rs",
        data="cifar10",
        model=f"{_CIFAR},batch_norm=true",
        objective="fgsm-rs",
        ball="linf:8/255",
        shows="one-step training from a random start, batch norm",
        recipe=_adam(10, augment="flip"),
    ),
)
