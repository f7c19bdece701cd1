"""The networks on which `epsball diagnose` is judged, and the two halves they are drawn into.

The halves are drawn by base network, from the bases' names alone and before any threshold was chosen: a threshold is
chosen on the first half, frozen, and judged on the second, which has not one base network with the first in common.
The second half was looked at once before the rules took their last form; so there is a third part, of bases that were
added after that and that nobody looked at before.
"""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

import epsball as eb
from defended import (
    CIFAR10_ADV,
    CIFAR10_KW,
    CIFAR10_SIGMOID,
    CIFAR10_STD,
    LISTED,
    MODELS,
    PUBLISHED,
    SIGMOID,
)
from epsball.chapter.zoo.loading import defended
from epsball.chapter.zoo.places import by_name, trained
from epsball.masking.zoo import DEFENCES
from task import CIFAR10, MNIST, SHARED

COUNT = 200
"""Test images per network; the first ones of the data set."""

_MNIST, _CIFAR10, _FASHION = f"idx:{MNIST}", f"cifar10:{CIFAR10}", f"idx:{SHARED / 'data' / 'fashion-mnist'}"


@dataclass(frozen=True, kw_only=True)
class Base:
    """A network without defence, by texts.

    Parameters
    ----------
    name
        The base's name.
    data
        The data it is judged on.
    model
        Its text, given the folder of the zoo's trained networks.
    """

    name: str
    data: str
    model: Callable[[Path], str]


def _zoo(name: str) -> Base:
    data = {"mnist": _MNIST, "cifar10": _CIFAR10, "digits": "digits"}[by_name(name).data]
    return Base(name=name, data=data, model=lambda zoo: trained(by_name(name), zoo).model)


def _published(name: str, data: str, text: str) -> Base:
    return Base(name=name, data=data, model=lambda zoo: text)


_KW = f"cnn_a@{MODELS / 'wong_kolter'}"
_COMPETITION = MODELS / "vnncomp2021"

BASES = {
    base.name: base
    for base in (
        _zoo("mnist-standard"),
        _zoo("mnist-pgd"),
        _zoo("mnist-trades"),
        _zoo("mnist-input-gradient"),
        _zoo("cifar-standard"),
        _zoo("cifar-pgd"),
        _zoo("cifar-trades"),
        _zoo("cifar-fgsm"),
        _zoo("cifar-fgsm-rs"),
        _zoo("cifar-k-wta"),
        _zoo("digits-standard"),
        _published("wong-kolter", _MNIST, f"{_KW}/mnist.pth"),
        _published("wong-kolter-fashion", _FASHION, f"{_KW}/fashion_mnist.pth"),
        _published("master-seed", _MNIST, f"cnn_a@{MODELS / 'mipverify_data' / 'master_seed_1_epochs_100.pth'}"),
        _published("rsl18a", _MNIST, f"{PUBLISHED}:rsl18a,folder={MODELS / 'mipverify_data'}"),
        _published("mnist-cnn-a-adv", _MNIST + LISTED, f"cnn_a@{MODELS / 'abcrown' / 'mnist_cnn_a_adv.model'}"),
        _published(
            "mnist-cnn-small", _MNIST, f"{PUBLISHED}:mnist_cnn_small@{MODELS / 'auto_lirpa' / 'mnist_cnn_small.pth'}"
        ),
        _published(
            "mnist-6-100", _MNIST, f"mlp@{MODELS / 'abcrown' / 'mnist_6_100_nat.pth'},hidden=100:100:100:100:100"
        ),
        _published("cifar-cnn-a-adv", _CIFAR10, f"cnn_a@{MODELS / 'abcrown' / 'cifar_cnn_a_adv.model'}{CIFAR10_ADV}"),
        _published("resnet2b", _CIFAR10, f"{PUBLISHED}:resnet2b@{MODELS / 'abcrown' / 'resnet2b.pth'}{CIFAR10_STD}"),
        _published("cifar-sigmoid", _CIFAR10, f"{PUBLISHED}:cifar_conv_small_sigmoid@{SIGMOID}{CIFAR10_SIGMOID}"),
    )
}

LATER = {
    base.name: base
    for base in (
        _zoo("cifar-cascade"),
        _zoo("mnist-distilled"),
        _zoo("mnist-fgsm"),
        _zoo("cifar-thermometer"),
        _published("eran-relu-9-200", _MNIST, f"{_COMPETITION / 'eran' / 'nets' / 'mnist_relu_9_200.onnx'}"),
        _published("eran-sigmoid", _MNIST, f"{_COMPETITION / 'eran' / 'nets' / 'ffnnSIGMOID__Point_6x200.onnx'}"),
        _published("verivital-avgpool", _MNIST, f"{_COMPETITION / 'verivital' / 'Convnet_avgpool.onnx'}"),
        _published("verivital-maxpool", _MNIST, f"{_COMPETITION / 'verivital' / 'Convnet_maxpool.onnx'}"),
        _published(
            "marabou-small",
            _CIFAR10,
            f"{PUBLISHED}:cifar_marabou_small@{MODELS / 'abcrown' / 'cifar_marabou_small.pth'}",
        ),
        _published("marabou-medium", _CIFAR10, f"{_COMPETITION / 'marabou-cifar10' / 'nets' / 'cifar10_medium.onnx'}"),
        *(
            _published(
                f"oval-{size}", _CIFAR10, f"{_COMPETITION / 'oval21' / 'nets' / f'cifar_{size}_kw.onnx'}{CIFAR10_KW}"
            )
            for size in ("base", "deep", "wide")
        ),
        _published("resnet4b", _CIFAR10, f"{_COMPETITION / 'cifar10_resnet' / 'onnx' / 'resnet_4b.onnx'}{CIFAR10_STD}"),
    )
}
"""Bases of the third part, added after the rules took their last form."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network to be judged: a base, perhaps behind a defence, and a ball.

    Parameters
    ----------
    base
        The base's name.
    ball
        The ball's text.
    defence
        The name of a defence of the zoo, or None.
    """

    base: str
    ball: str
    defence: str | None = None

    @property
    def name(self) -> str:
        """By which results name it."""
        return " ".join(filter(None, (self.base, self.ball, self.defence)))

    @property
    def half(self) -> int:
        """1 or 2, the same for all networks of a base; 3 for bases that were added later."""
        return HALVES.get(self.base, 3)

    def load(self, zoo: Path) -> tuple[eb.Classifier, Tensor, Tensor]:
        """Return the classifier, the first test images and their labels."""
        base = (BASES | LATER)[self.base]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", eb.data.IncompleteData)
            x, y = eb.data.load(base.data, split="test")[:COUNT]
        x = eb.data.as_pixels(x).contiguous()
        if self.defence is not None and DEFENCES[self.defence].base == self.base:
            return defended(self.defence, zoo), x, y
        classifier = eb.models.load(base.model(zoo), shape=tuple(x.shape[1:]), classes=10).classifier()
        return classifier if self.defence is None else DEFENCES[self.defence].build(classifier), x, y


def _halves() -> dict[str, int]:
    """Return the half of each base: the bases in the order of a hash of their names, in turn."""
    drawn = sorted(BASES, key=lambda name: hashlib.sha256(f"diagnosis: {name}".encode()).hexdigest())
    return {name: 1 + number % 2 for number, name in enumerate(drawn)}


HALVES = _halves()

_BALLS = {
    "mnist-standard": ("linf:0.05", "linf:0.1"),
    "mnist-pgd": ("linf:0.2", "linf:0.3"),
    "mnist-trades": ("linf:0.1",),
    "mnist-input-gradient": ("linf:0.1",),
    "cifar-standard": ("linf:1/255",),
    "cifar-pgd": ("linf:8/255",),
    "cifar-trades": ("linf:8/255",),
    "cifar-fgsm": ("linf:8/255",),
    "cifar-fgsm-rs": ("linf:8/255",),
    "cifar-k-wta": ("linf:8/255",),
    "digits-standard": ("linf:0.1",),
    "wong-kolter": ("linf:0.1", "linf:0.2"),
    "wong-kolter-fashion": ("linf:0.1",),
    "master-seed": ("linf:0.1", "linf:0.15"),
    "rsl18a": ("linf:0.1", "linf:0.2"),
    "mnist-cnn-a-adv": ("linf:0.3",),
    "mnist-cnn-small": ("linf:0.05",),
    "mnist-6-100": ("linf:0.02",),
    "cifar-cnn-a-adv": ("linf:2/255",),
    "resnet2b": ("linf:2/255",),
    "cifar-sigmoid": ("linf:1/255",),
    "eran-relu-9-200": ("linf:0.015",),
    "eran-sigmoid": ("linf:0.015",),
    "verivital-avgpool": ("linf:0.02",),
    "verivital-maxpool": ("linf:0.02",),
    "marabou-small": ("linf:1/255", "linf:2/255"),
    "marabou-medium": ("linf:1/255",),
    "oval-base": ("linf:2/255", "linf:8/255"),
    "oval-deep": ("linf:2/255",),
    "oval-wide": ("linf:2/255",),
    "resnet4b": ("linf:1/255",),
    "cifar-cascade": ("linf:0.015",),
    "mnist-fgsm": ("linf:0.1", "linf:0.3"),
}
"""Balls in which the bases themselves are judged: of their training, and beyond."""

_DEFENDED = {
    "mnist-standard": ("linf:0.1", ("coarse-rounding", "scaled-logits", "detached", "permuted-gradient", "noise")),
    "mnist-trades": ("linf:0.15", ("scaled-logits",)),
    "mnist-pgd": ("linf:0.3", ("scaled-logits", "coarse-rounding")),
    "digits-standard": ("linf:0.15", ("coarse-rounding", "scaled-logits", "permuted-gradient")),
    "mnist-6-100": ("linf:0.05", ("coarse-rounding", "scaled-logits", "permuted-gradient")),
    "cifar-standard": ("linf:4/255", ("8-bit-rounding", "jpeg", "scaled-logits")),
    "mnist-input-gradient": ("linf:0.1", ("coarse-rounding", "scaled-logits", "wrong-gradient", "jpeg", "detached")),
    "mnist-cnn-small": ("linf:0.1", ("coarse-rounding", "scaled-logits", "detached", "wrong-gradient", "noise")),
    "rsl18a": ("linf:0.2", ("scaled-logits", "detached", "coarse-rounding")),
    "wong-kolter": ("linf:0.2", ("scaled-logits",)),
    "cifar-cnn-a-adv": ("linf:4/255", ("8-bit-rounding", "dead-relu")),
    "eran-relu-9-200": ("linf:0.03", ("dead-relu", "permuted-gradient")),
    "eran-sigmoid": ("linf:0.03", ("scaled-logits", "wrong-gradient")),
    "verivital-avgpool": ("linf:0.05", ("coarse-rounding", "detached", "noise")),
    "verivital-maxpool": ("linf:0.02", ("dead-relu", "coarse-rounding")),
    "marabou-small": ("linf:2/255", ("8-bit-rounding", "random-resizing")),
    "oval-base": ("linf:4/255", ("jpeg", "dead-relu")),
    "oval-deep": ("linf:2/255", ("detached", "scaled-logits")),
    "oval-wide": ("linf:1/255", ("wrong-gradient",)),
    "mnist-distilled": ("linf:0.15", ("distillation",)),
    "mnist-fgsm": ("linf:0.1", ("permuted-gradient",)),
    "cifar-thermometer": ("linf:8/255", ("BRRG18",)),
}

NETWORKS = {
    network.name: network
    for network in (
        *(Network(base=base, ball=ball) for base, balls in _BALLS.items() for ball in balls),
        *(
            Network(base=base, ball=ball, defence=defence)
            for base, (ball, defences) in _DEFENDED.items()
            for defence in defences
        ),
    )
}
