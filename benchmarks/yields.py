"""What a method closes of the examples that are open before it, per pass: the table in `certificates/yields.py`.

    python benchmarks/yields.py NETS DATA [--examples 20] [--passes 100000]

NETS and DATA are the folders of published networks and their data. Examples that ten steps of PGD break are left out,
as in an audit. Every other method of the cascade runs on each of the rest, by class of what is lacking: the share of
the way down from the margin at x to the best bound before it that lies below 0.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import torch

from epsball import attack, attacks, data, models
from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, Domain, Problem, Verifier
from epsball.certificates.yields import CLASSES, lacking
from harness import single_threaded

NETWORKS = (
    ("cnn_a@{nets}/abcrown/mnist_cnn_a_adv.model,shape=1x28x28,classes=10", "idx:{data}/mnist,split=test", "3/10"),
    ("cnn_a@{nets}/wong_kolter/mnist.pth,shape=1x28x28,classes=10", "idx:{data}/mnist,split=test", "3/20"),
    (
        "cnn_a@{nets}/abcrown/cifar_cnn_a_adv.model,shape=3x32x32,classes=10,"
        "mean=0.4913725490196078:0.4823529411764706:0.4466666666666667,"
        "std=0.24705882352941178:0.24352941176470588:0.2615686274509804",
        "cifar10:{data}/cifar10",
        "2/255",
    ),
)
ORDER = ("crown-ibp", "crown", "optimised", "complete")


def main() -> None:
    """Measure and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("nets", type=Path)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--examples", type=int, default=20)
    arguments.add_argument("--passes", type=int, default=100_000)
    options = arguments.parse_args()
    single_threaded()
    found = defaultdict(lambda: [0, 0, 0, 0.0])
    for model, source, radius in NETWORKS:
        try:
            _measure(model, source, radius, options, found)
        except Exception as error:
            print(f"{model}: {error}", flush=True)
    for (name, number), (examples, closed, passes, seconds) in sorted(found.items()):
        print(
            f"{name} class {number}: {closed} of {examples} closed, {passes / examples:.0f} passes, "
            f"{seconds / examples:.2f} CPU s per example",
            flush=True,
        )


def _measure(model: str, source: str, radius: str, options: argparse.Namespace, found: dict) -> None:
    loaded = models.load(model.format(nets=options.nets))
    x, _ = data.load(f"{source.format(data=options.data)},first={options.examples}")[:]
    x = data.as_pixels(x)
    ball, classifier = Ball("linf", radius), loaded.classifier()
    predicted = classifier.logits(x).argmax(dim=1)
    broken = attack(classifier, x, predicted, ball, method=attacks.PGD(steps=10)).broken.cpu()
    verifier = Verifier.of(classifier, tuple(x.shape[1:]), FLOAT32)
    for row in torch.nonzero(~broken)[:, 0].tolist():
        one = slice(row, row + 1)
        problem = Problem.of(verifier.bounded, Domain.of(ball, x[one]), predicted[one], arithmetic=FLOAT32)
        best = torch.full((1,), -torch.inf, dtype=torch.float64)
        for name in ORDER:
            number = int(torch.bucketize(lacking(problem, best), torch.tensor(CLASSES)))
            begun, price = time.process_time(), int(METHODS[name].cost(problem))
            bounds = METHODS[name](Problem(**{**vars(problem), "budget": options.passes}))
            spent = time.process_time() - begun
            best = torch.maximum(best, bounds.rows.amin(dim=1))
            entry = found[name, number]
            entry[0], entry[1] = entry[0] + 1, entry[1] + int(best > 0)
            entry[2], entry[3] = entry[2] + price + bounds.passes.get(0, 0), entry[3] + spent
            searched = bounds.searched.get(0)
            ended = "" if searched is None else f" {searched.ending} {searched.parts} parts {searched.leaves} leaves"
            print(f"{model[-24:]} {row} {name} {number} {float(best):.4f} {price} {spent:.2f}{ended}", flush=True)
            if best > 0:
                break


if __name__ == "__main__":
    main()
