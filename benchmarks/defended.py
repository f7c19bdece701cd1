"""Networks, their images and the ball they are attacked in: published ones from the folder `shared`, and our own."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import epsball as eb
from task import CIFAR10, MNIST, SHARED

MODELS = SHARED / "models"
PUBLISHED = Path(__file__).resolve().parents[1] / "examples" / "published.py"
CIFAR10_KW = ",mean=0.485:0.456:0.406,std=0.225:0.225:0.225"
CIFAR10_STD = ",mean=0.4914:0.4822:0.4465,std=0.2471:0.2435:0.2616"
SIGMOID = MODELS / "abcrown" / "cifar_conv_small_sigmoid.pth"
CIFAR10_SIGMOID = ",mean=0.4914:0.4822:0.4465,std=0.2023:0.1994:0.2010"
CIFAR10_ADV = ",mean=0.4913725490196078:0.4823529411764706:0.4466666666666667"
CIFAR10_ADV += ",std=0.24705882352941178:0.24352941176470588:0.2615686274509804"
LISTED = f",indices={MODELS / 'abcrown' / 'subset_test_indices.json'}#sdp_mnist_200"


@dataclass(frozen=True, kw_only=True)
class Defended:
    """A network, images and a ball, by the texts that name them; the network's text may first have to be made."""

    model: str | Callable[[], str]
    ball: str
    data: str

    @property
    def cifar(self) -> bool:
        """Whether the images are CIFAR-10's."""
        return self.data.startswith("cifar10")

    def load(self, count: int) -> tuple[nn.Module, Tensor, Tensor]:
        """Return the module behind its normalisation, the first images, and their labels."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", eb.data.IncompleteData)
            x, y = eb.data.load(self.data, split="test")[:count]
        pixels = eb.data.as_pixels(x).clone(memory_format=torch.contiguous_format)
        text = self.model if isinstance(self.model, str) else self.model()
        loaded = eb.models.load(text, shape=tuple(pixels.shape[1:]), classes=10)
        classifier = loaded.classifier()
        return classifier.network.eval().requires_grad_(False), pixels, y


def trained(name: str, objective: eb.training.Objective) -> str:
    """Return the card of a ``cnn_a`` trained for two epochs on 20,000 MNIST images, kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "epsball-benchmarks"
    folder = cache / f"cnn_a-mnist-{name}"
    if not folder.exists():
        print(f"training cnn_a ({name}) once, kept in {folder}", flush=True)
        unfinished = folder.with_suffix(f".{os.getpid()}")
        torch.manual_seed(0)
        module = eb.models.load("cnn_a", shape=(1, 28, 28), classes=10).module
        x, y = eb.data.load(_MNIST, split="train")[:20_000]
        recipe = eb.training.Recipe(epochs=2, batch_size=64, optimiser="adam", lr=1e-3)
        data = (eb.data.as_pixels(x), y)
        eb.train(module, data, objective=objective, recipe=recipe, architecture="cnn_a", folder=unfinished)
        unfinished.rename(folder)
    return str(folder / "card.json")


_MNIST, _CIFAR10 = f"idx:{MNIST}", f"cifar10:{CIFAR10}"
_KW = f"cnn_a@{MODELS / 'wong_kolter'}"

NETWORKS: dict[str, Defended] = {
    "wong_kolter/mnist .1": Defended(model=f"{_KW}/mnist.pth", ball="linf:0.1", data=_MNIST),
    "wong_kolter/mnist .15": Defended(model=f"{_KW}/mnist.pth", ball="linf:0.15", data=_MNIST),
    "mnist_cnn_a_adv .3": Defended(
        model=f"cnn_a@{MODELS / 'abcrown' / 'mnist_cnn_a_adv.model'}", ball="linf:0.3", data=_MNIST + LISTED
    ),
    "cifar_cnn_a_adv 2/255": Defended(
        model=f"cnn_a@{MODELS / 'abcrown' / 'cifar_cnn_a_adv.model'}{CIFAR10_ADV}", ball="linf:2/255", data=_CIFAR10
    ),
    "cifar_base_kw 4/255": Defended(
        model=f"{PUBLISHED}:cifar_base_kw@{MODELS / 'oval_bab' / 'cifar_base_kw.pth'}{CIFAR10_KW}",
        ball="linf:4/255",
        data=_CIFAR10,
    ),
    "resnet2b 4/255": Defended(
        model=f"{PUBLISHED}:resnet2b@{MODELS / 'abcrown' / 'resnet2b.pth'}{CIFAR10_STD}",
        ball="linf:4/255",
        data=_CIFAR10,
    ),
    "master_seed_1 .15": Defended(
        model=f"cnn_a@{MODELS / 'mipverify_data' / 'master_seed_1_epochs_100.pth'}", ball="linf:0.15", data=_MNIST
    ),
    "cifar_conv_small_sigmoid 2/255": Defended(
        model=f"{PUBLISHED}:cifar_conv_small_sigmoid@{SIGMOID}{CIFAR10_SIGMOID}",
        ball="linf:2/255",
        data=_CIFAR10,
    ),
    "trained plainly .1": Defended(
        model=partial(trained, "standard", eb.training.Standard()), ball="linf:0.1", data=_MNIST
    ),
    "trained with PGD .1": Defended(
        model=partial(trained, "pgd", eb.training.PGD(ball=eb.Ball("linf", "0.1"), steps=7)),
        ball="linf:0.1",
        data=_MNIST,
    ),
    "resnet2b l2 .5": Defended(
        model=f"{PUBLISHED}:resnet2b@{MODELS / 'abcrown' / 'resnet2b.pth'}{CIFAR10_STD}", ball="l2:0.5", data=_CIFAR10
    ),
    "trained with PGD l2 1": Defended(
        model=partial(trained, "pgd", eb.training.PGD(ball=eb.Ball("linf", "0.1"), steps=7)), ball="l2:1", data=_MNIST
    ),
    "trained with PGD l1 5": Defended(
        model=partial(trained, "pgd", eb.training.PGD(ball=eb.Ball("linf", "0.1"), steps=7)), ball="l1:5", data=_MNIST
    ),
}
"""From `master_seed_1` on none was looked at before the Ensemble's settings were chosen."""
