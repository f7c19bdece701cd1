"""The trained networks of the zoo: twelve, and three fine-tuned from them, each within ten CPU-minutes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from epsball.masking.zoo.published.thermometer import Thermometer

DataName = Literal["mnist", "fashion", "cifar10", "digits"]

TEMPERATURE = 100.0
"""Of distillation (Papernot et al., IEEE S&P 2016)."""

FGSM = "pgd,steps=1,step_size=radius,start=none"
"""One step from the example itself, the training that may collapse (Wong, Rice and Kolter, ICLR 2020, section 5)."""


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
        Images of the training set, from the first; None is all of them.
    start
        The network it is fine-tuned from, or None.
    source
        The network that its objective looks at: cascade training's source, distillation's teacher.
    encoder
        Makes the module that stands in front while it is trained, or None.
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
    examples: int | None = 20_000
    start: str | None = None
    source: str | None = None
    encoder: Callable[[], nn.Module] | None = None


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
        shows="one-step training",
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
        name="cifar-fgsm-rs",
        data="cifar10",
        model=f"{_CIFAR},batch_norm=true",
        objective="fgsm-rs",
        ball="linf:8/255",
        shows="one-step training from a random start, batch norm",
        recipe=_adam(10, augment="flip"),
    ),
    Base(
        name="digits-standard",
        data="digits",
        model=_MNIST,
        objective="standard",
        ball="linf:0.15",
        shows="plain training, behind PixelDefend",
        recipe=_adam(30, precision="float32", holdout=0.05),
        examples=None,
    ),
    Base(
        name="cifar-thermometer",
        data="cifar10",
        model=_CIFAR,
        objective="standard",
        ball="linf:8/255",
        shows="plain training on thermometer codes (BRRG18)",
        recipe=_adam(8, augment="flip"),
        encoder=Thermometer,
    ),
    Base(
        name="cifar-cascade",
        data="cifar10",
        model=f"{_CIFAR},batch_norm=true",
        objective="cascade",
        ball="linf:0.015",
        shows="fine-tuned by cascade training (NKM17)",
        recipe=_adam(5, lr=1e-3, augment="flip"),
        start="cifar-standard",
        source="cifar-fgsm-rs",
    ),
    Base(
        name="mnist-distilled",
        data="mnist",
        model=_MNIST,
        objective="distillation",
        ball="linf:0.15",
        shows="fine-tuned by distillation at temperature 100",
        recipe=_adam(6),
        start="mnist-standard",
        source="mnist-standard",
    ),
    Base(
        name="mnist-fgsm",
        data="mnist",
        model=_MNIST,
        objective=FGSM,
        ball="linf:0.3",
        shows="fine-tuned by one-step training until it collapses",
        recipe=_adam(6, lr=1e-3),
        start="mnist-standard",
    ),
)
