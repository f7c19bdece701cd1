"""Figure 17.2 of the chapter on a small scale: standard against PGD-trained PreActResNet-18.

Run as ``python examples/figure_17_2.py FOLDER cifar10:PATH``. On one idle CPU core it takes about a
quarter of an hour; networks finished in FOLDER are not trained again. Each data set has three networks:
standard, standard from another seed (how alike two networks are that differ in nothing but
chance), and PGD-trained, the last with the seed of the second. CIFAR-10 images are averaged over
2 x 2 pixels and a subset is used.
"""

import shutil
import sys
from pathlib import Path

import torch

import epsball as eb
from epsball.data import as_pixels
from epsball.files import write_atomically, write_json
from epsball.generator_state import preserved
from epsball.similarity import Similarity, cka, heatmaps, shift

Pair = tuple[torch.Tensor, torch.Tensor]
MODEL = "preact_resnet18"
LAYERS = ["conv1", "layer*.conv?", "layer*.?", "linear"]
"""The stem, the two convolutions and the output of every block, and the logits."""


def digits(split: str) -> Pair:
    """Return the embedded 8 x 8 digits."""
    data = eb.data.load(f"digits,split={split}")
    x, y = data[:]
    return as_pixels(x), y


def small_cifar(source: str, split: str, count: int) -> Pair:
    """Return the first images of CIFAR-10, averaged to 16 x 16 pixels."""
    x, y = eb.data.load(f"{source},split={split},first={count}")[:]
    return torch.nn.functional.avg_pool2d(as_pixels(x), 2), y


def as_cifar(data: Pair) -> Pair:
    """Return grey images in three channels of 16 x 16 pixels."""
    x, y = data
    return torch.nn.functional.interpolate(x, size=(16, 16), mode="bilinear").expand(-1, 3, -1, -1), y


def network(name: str, data: Pair, objective: eb.training.Objective, recipe: eb.training.Recipe, folder: Path):
    """Return the classifier that FOLDER holds under this name, trained now if it holds none."""
    finished, partial = folder / name, folder / f"{name}.partial"
    if not finished.exists():
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was stopped
        with preserved(recipe.seed):
            module = eb.models.load(MODEL, shape=tuple(data[0].shape[1:]), classes=10).module
        result = eb.train(
            module, data, objective=objective, mean=0.5, std=0.25, recipe=recipe, architecture=MODEL, folder=partial
        )
        partial.rename(finished)
        print(f"{name}\n{result}", flush=True)
    loaded = eb.models.load(str(finished / "card.json"))
    return loaded.classifier()


def trio(name: str, data: Pair, ball: eb.Ball, steps: int, epochs: tuple[int, int], folder: Path):
    """Return the standard network, its twin of another seed, and the robust one."""
    standard, robust = eb.training.Standard(), eb.training.PGD(ball=ball, steps=steps)

    def recipe(epochs: int, seed: int) -> eb.training.Recipe:
        return eb.training.Recipe(epochs=epochs, batch_size=64, lr=0.05, schedule="one-cycle", seed=seed)

    return (
        network(f"{name}-standard", data, standard, recipe(epochs[0], 1), folder),
        network(f"{name}-twin", data, standard, recipe(epochs[0], 0), folder),
        network(f"{name}-robust", data, robust, recipe(epochs[1], 0), folder),
    )


def compare(first: eb.Classifier, second: eb.Classifier, x: torch.Tensor) -> Similarity:
    """Return the similarity on the chosen layers, errors from eight batches."""
    return cka(first, second, x, layers=LAYERS, batch_size=max(4, -(-len(x) // 8)))


def show(name: str, networks, data: Pair, ball: eb.Ball) -> dict[str, Similarity]:
    """Print accuracies and summaries; return the four comparisons of one pair on one data set."""
    standard, twin, robust = networks
    x, y = data
    for label, classifier in (("standard", standard), ("robust", robust)):
        result = eb.attack(classifier, x[:200], y[:200], ball, method=eb.attacks.PGD(steps=20))
        print(f"{name} {label}: natural {float((classifier(x).argmax(1) == y).float().mean()):.3f}, "
              f"under PGD-20 (first 200) {float((~result.broken).float().mean()):.3f} ({ball})")  # fmt: skip
    found = {
        "standard": compare(standard, standard, x),
        "robust": compare(robust, robust, x),
        "standard and robust": compare(standard, robust, x),
        "standard and twin": compare(standard, twin, x),
    }
    for label, similarity in found.items():
        print(f"\n{name}: {label}\n{similarity}", flush=True)
    return found


def main(folder: Path, cifar: str) -> None:
    """Train what is missing, compare, and write the figure, the matrices and the numbers."""
    torch.set_num_threads(1)
    digit_ball, cifar_ball = eb.Ball.parse("linf:0.1"), eb.Ball.parse("linf:8/255")
    digit_nets = trio("digits", digits("train"), digit_ball, 5, (6, 6), folder)
    cifar_nets = trio("cifar", small_cifar(cifar, "train", 2000), cifar_ball, 3, (8, 8), folder)
    digit_test, cifar_test = digits("test"), small_cifar(cifar, "test", 1000)
    on_digits = show("digits", digit_nets, digit_test, digit_ball)
    on_cifar = show("CIFAR-10", cifar_nets, cifar_test, cifar_ball)
    standard, _, robust = cifar_nets
    elsewhere = compare(standard, robust, as_cifar(digit_test)[0])
    moved = shift(on_cifar["standard and robust"], elsewhere)
    print(f"\nthe CIFAR-10 networks on digits instead of CIFAR-10\n{elsewhere}\n{moved}")
    panels = {
        "standard (CIFAR-10)": on_cifar["standard"],
        "robust (CIFAR-10)": on_cifar["robust"],
        "standard (up) and robust on CIFAR-10": on_cifar["standard and robust"],
        "the same networks on digits": elsewhere,
    }
    for suffix in ("png", "svg"):
        heatmaps(panels).savefig(folder / f"figure_17_2.{suffix}", dpi=130)
    own = {f"{label} (digits)": similarity for label, similarity in on_digits.items()}
    heatmaps(own).savefig(folder / "digits.png", dpi=130)
    for name, similarity in {**panels, **own}.items():
        write_json(folder / "json" / f"{name.replace(' ', '_')}.json", similarity.to_json())
        write_atomically(folder / "csv" / f"{name.replace(' ', '_')}.csv", similarity.to_csv().encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
