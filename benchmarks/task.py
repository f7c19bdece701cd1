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

MNIST = SHARED / "data" / "mnist"
PUBLISHED = SHARED / "models" / "wong_kolter" / "mnist.pth"

Attack = Callable[[Tensor, Tensor], Tensor]
"""Maps (x, y) to points in the ball around x."""


class Unavailable(Exception):
    """A contender does not take part; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network and a ball by name, so that another process can build the same."""

    network: str
    ball: str
    steps: int = 40
    batch: int = 128
    shape: tuple[int, int, int] = (1, 28, 28)
    classes: int = 10

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


def images(split: str, first: int) -> tuple[Tensor, Tensor]:
    """Return the first images of MNIST, or of the embedded digits enlarged to 28 x 28.

    They are laid out plainly: a channels-last layout, which one channel hides, would hand faster
    kernels to those contenders whose arithmetic happens to keep it.
    """
    if MNIST.exists():
        x, y = eb.data.load(f"idx:{MNIST}", split=split)[:first]
        return eb.data.as_pixels(x).clone(memory_format=torch.contiguous_format), y
    x, y = eb.data.load("digits", split=split)[:first]
    return functional.pad(functional.interpolate(eb.data.as_pixels(x), scale_factor=3.0), (2, 2, 2, 2)), y


def network(name: str, shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> nn.Module:
    """Return a network by its architecture's name, in evaluation mode with frozen parameters.

    ``cnn_a`` has Wong and Kolter's published weights (trained for linf 0.1) where they are
    there; all else is trained without defence, once, and kept in the user's cache folder.
    """
    published = name == "cnn_a" and PUBLISHED.exists() and MNIST.exists()
    text = f"cnn_a@{PUBLISHED}" if published else str(_trained(name, shape, classes))
    return eb.models.load(text, shape=shape, classes=classes).module.eval().requires_grad_(False)


def _trained(name: str, shape: tuple[int, int, int], classes: int) -> Path:
    """Return the card of a network trained for two epochs on 12,000 images."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "epsball-benchmarks"
    folder = cache / f"{name}-{'mnist' if MNIST.exists() else 'digits'}"
    card = folder / "card.json"
    if not card.exists():
        print(f"training {name} once, kept in {folder}", flush=True)
        torch.manual_seed(0)
        module = eb.models.load(name, shape=shape, classes=classes).module
        recipe = eb.training.Recipe(epochs=2 if MNIST.exists() else 20, batch_size=64)
        eb.train(module, images("train", 12_000), recipe=recipe, architecture=name, folder=folder)
    return card
