"""What is attacked: a network, real images, a ball, and the steps every contender takes."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import epsball as eb

SHARED = Path(__file__).resolve().parents[2] / "shared"
"""Published data and networks, where they lie beside the checkout."""

MNIST, CIFAR10 = SHARED / "data" / "mnist", SHARED / "data" / "cifar10"
PUBLISHED = SHARED / "models" / "wong_kolter" / "mnist.pth"

Attack = Callable[[Tensor, Tensor], Tensor]
"""Maps (x, y) to points in the ball around x."""


class Unavailable(Exception):
    """A contender does not take part; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Images, a network and a ball by name, so that another process can build the same.

    ``data`` is mnist, or cifar10 where that lies beside the checkout.
    """

    network: str
    ball: str
    data: str = "mnist"
    steps: int = 40
    batch: int = 128
    classes: int = 10

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image."""
        return (3, 32, 32) if self.data == "cifar10" else (1, 28, 28)

    @property
    def norm(self) -> str:
        """The name of the ball's norm."""
        return self.ball.partition(":")[0]

    @property
    def radius(self) -> float:
        """The radius as a float."""
        return float(eb.Ball.parse(self.ball).radius)

    @property
    def step(self) -> float:
        """The step size, 2.5 * radius / steps."""
        return 2.5 * self.radius / self.steps


def images(task: Task, split: str, first: int) -> tuple[Tensor, Tensor]:
    """Return the first images of a task's data; for MNIST's the embedded digits, 28 x 28, where it is missing.

    They are laid out plainly: a channels-last layout, which one channel hides, would hand faster
    kernels to those contenders whose arithmetic happens to keep it.
    """
    texts = {"cifar10": f"cifar10:{CIFAR10}", "mnist": f"idx:{MNIST}" if MNIST.exists() else "digits"}
    x, y = eb.data.load(texts[task.data], split=split)[:first]
    pixels = eb.data.as_pixels(x).clone(memory_format=torch.contiguous_format)
    if texts[task.data] == "digits":
        pixels = functional.pad(functional.interpolate(pixels, scale_factor=3.0), (2, 2, 2, 2))
    return pixels, y


def network(task: Task) -> nn.Module:
    """Return a task's network in evaluation mode with frozen parameters.

    ``cnn_a`` has Wong and Kolter's published weights (trained for linf 0.1) where they are
    there; all else is trained without defence, once, and kept in the user's cache folder.
    """
    published = task.network == "cnn_a" and task.data == "mnist" and PUBLISHED.exists() and MNIST.exists()
    text = f"cnn_a@{PUBLISHED}" if published else str(_trained(task))
    module = eb.models.load(text, shape=task.shape, classes=task.classes).module
    return module.eval().requires_grad_(False)


def _trained(task: Task) -> Path:
    """Return the card of a network trained for eight epochs on at most 20,000 images."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "epsball-benchmarks"
    real = task.data == "cifar10" or MNIST.exists()
    folder = cache / f"{task.network}-{task.data if real else 'digits'}"
    card = folder / "card.json"
    if not card.exists():
        print(f"training {task.network} on {task.data} once, kept in {folder}", flush=True)
        torch.manual_seed(0)
        module = eb.models.load(task.network, shape=task.shape, classes=task.classes).module
        recipe = eb.training.Recipe(epochs=8, batch_size=64, optimiser="adam", lr=1e-3)
        data = images(task, "train", 20_000)
        eb.train(module, data, recipe=recipe, architecture=task.network, folder=folder)
    return card
