"""HopSkipJump here and in Foolbox: median l2 and linf distance at the same number of iterations.

    OMP_NUM_THREADS=1 python benchmarks/hop_skip_jump.py [--images 20] [--iterations 10] [--norms l2 linf]

The network is the published, adversarially trained ``mnist_cnn_a_adv`` of alpha-beta-CROWN; images are
MNIST's first test images that uniform noise does not resemble (their label is none that noise is given).
Judged alike: the distance is that of the point returned, if it is misclassified (a tie is).
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import epsball as eb
from epsball.attacks import HopSkipJump
from epsball.attacks.losses import margin
from epsball.results import text_table

SHARED = Path(__file__).resolve().parents[2] / "shared"
MODEL = f"cnn_a@{SHARED}/models/abcrown/mnist_cnn_a_adv.model"


def load(images: int) -> tuple[eb.Classifier, Tensor, Tensor]:
    data = eb.data.load(f"idx:{SHARED}/data/mnist,split=test,first=500")
    loaded = eb.models.load(MODEL, shape=data.shape, classes=data.classes)
    classifier = loaded.classifier()
    x, y = data[:]
    x = eb.data.as_pixels(x)
    noise = torch.rand(200, *x.shape[1:], generator=torch.Generator().manual_seed(0))
    unlike = ~torch.isin(y, classifier.logits(noise).argmax(1)) & (classifier.logits(x).argmax(1) == y)
    return classifier, x[unlike][:images], y[unlike][:images]


def ours(classifier: eb.Classifier, x: Tensor, y: Tensor, norm: str, iterations: int) -> Tensor:
    method = HopSkipJump(iterations=iterations)
    return eb.attack(classifier, x, y, eb.Ball(norm, "1/1000000"), method=method, stop="never").nearest


def foolbox(classifier: eb.Classifier, x: Tensor, y: Tensor, norm: str, iterations: int) -> Tensor:
    import foolbox as fb

    attack = fb.attacks.HopSkipJumpAttack(steps=iterations, constraint=norm)
    with classifier.in_use():
        model = fb.PyTorchModel(classifier.network, bounds=(0, 1))
        points, _, _ = attack(model, x, fb.criteria.Misclassification(y), epsilons=None)
    return points


def foolbox_one_by_one(classifier: eb.Classifier, x: Tensor, y: Tensor, norm: str, iterations: int) -> Tensor:
    """Foolbox 3.3.4 divides its step directions by their length over the whole batch: here one image is a batch."""
    return torch.cat([foolbox(classifier, x[i : i + 1], y[i : i + 1], norm, iterations) for i in range(len(x))])


CONTENDERS: dict[str, Callable[..., Tensor]] = {
    "epsball": ours,
    "foolbox": foolbox,
    "foolbox, one by one": foolbox_one_by_one,
}


class Rows:
    """Counts the rows that pass a network."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.count = 0
        self._handle = network.register_forward_hook(self._add)

    def _add(self, module: torch.nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        self.count += len(args[0])

    def close(self) -> None:
        """Stop counting."""
        self._handle.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--norms", nargs="+", default=["l2", "linf"])
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    options = parser.parse_args()
    classifier, x, y = load(options.images)
    rows = []
    for norm in options.norms:
        for name in options.contenders:
            counter, began = Rows(classifier.network), time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.manual_seed(0)
                points = CONTENDERS[name](classifier, x, y, norm, options.iterations)
            seconds = time.process_time() - began
            counter.close()
            wrong = margin(classifier.logits(points), y) >= 0
            distance = eb.Ball(norm, 1).distance(points, x)
            distance[~wrong] = torch.inf
            rows.append((norm, name, float(distance.median()), int(wrong.sum()), counter.count // len(x), seconds))
            print(text_table(("norm", "contender", "median distance", "found", "forwards each", "CPU s"), rows[-1:]))
    print(text_table(("norm", "contender", "median distance", "found", "forwards each", "CPU s"), rows))


if __name__ == "__main__":
    main()
