"""Randomised smoothing: against the truth on linear classifiers, and a confidence sequence against fixed numbers.

    python benchmarks/smoothing.py linear
    python benchmarks/smoothing.py curves CARD DATA --sigma 0.25 --radii 0,0.25,0.5,0.75 --out FOLDER

The first takes two-class linear classifiers, whose radius is |w.x + b| / ||w||, and asks whether more radii than alpha
lie above it. The second certifies the same examples by the sequence and by a fixed number of samples, and prints for
each radius the sequence's mean number over the least fixed number that certifies as many, all radii sharing a
sequence. With `--out` the votes are kept, and the same command goes on after a stop.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest, norm
from torch import nn

import epsball as eb
from epsball.smoothing import fixed_bound
from epsball.smoothing.noise import Gaussian

ALPHA = 0.001
SELECTION = 100


def linear(shares: list[float], trials: int, sigma: float) -> None:
    """Print how often a certified radius lies above the truth, per share of the top class."""
    print("share    bound     above the truth   p-value of 'at most alpha'")
    for share in shares:
        distance = sigma * norm.ppf(min(share, 1 - 1e-12))
        x = torch.stack([torch.full((trials,), distance), torch.arange(trials) * 0.01], dim=1).float()
        layer = nn.Linear(2, 2)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
            layer.bias.zero_()
        classifier = eb.Classifier(layer, low=None, high=None)
        for bound in ("sequence", "fixed"):
            options = {"sigma": sigma, "radii": [min(distance, 1.0)], "samples": 2000, "bound": bound, "alpha": 0.01}
            found = eb.smooth(classifier, (x, torch.ones(trials, dtype=torch.int64)), **options)
            top = found.rows.predicted == 1
            # Of the class at the other side the true share is below 1/2: every radius above 0 is above the truth.
            above = int((found.radius > np.where(top, x[:, 0].double().numpy(), 0.0)).sum())
            p = binomtest(above, trials, 0.01, alternative="greater").pvalue
            print(f"{share:<8g} {bound:<9} {above} of {trials:<12} {p:.3g}")


def curves(card: str, data: str, sigma: float, radii: list[str], samples: int, out: Path | None) -> None:
    """Print both curves, and what the sequence saves."""
    classifier = eb.models.load(card).classifier()
    spent, found = {}, {}
    for bound in ("sequence", "fixed"):
        start = time.process_time()
        options = {"sigma": sigma, "radii": radii, "samples": samples, "bound": bound}
        found[bound] = eb.smooth(classifier, data, **options, folder=out and out / bound)
        spent[bound] = time.process_time() - start
        print(found[bound], "\n", f"CPU seconds: {spent[bound]:.0f}\n")
    fixed, sequence = found["fixed"], found["sequence"]
    right = fixed.rows.predicted == fixed.rows.label
    # The share of each example, as well as the fixed number of samples tells it.
    share = fixed.rows.count / fixed.rows.samples
    print("radius  sequence  fixed  differ  mean samples  least fixed that certifies as many  ratio")
    for radius in sequence.radii:
        by_sequence, by_fixed = sequence.certified_at(radius), fixed.certified_at(radius)
        least = _least(share[right], sigma, float(radius), int(by_sequence.sum()), samples)
        mean = sequence.rows.samples.mean()
        ratio = "-" if least is None else f"{mean / least:.3f}"
        shown = f"more than {samples}" if least is None else str(least)
        differ = int((by_sequence != by_fixed).sum())
        counts = f"{by_sequence.sum():<9} {by_fixed.sum():<6} {differ:<7}"
        print(f"{float(radius):<7g} {counts} {mean:<13,.0f} {shown:<35} {ratio}")


def _least(share: np.ndarray, sigma: float, radius: float, wanted: int, most: int) -> int | None:
    """Return the least fixed number of samples at which as many examples are certified, their votes as expected."""
    low, high = 1, most
    noise = Gaussian(sigma)

    def certified(n: int) -> int:
        count = np.floor(share * n).astype(np.int64)
        reached = noise.radius(fixed_bound(count, np.full(len(count), n), ALPHA), "l2", 1)
        return int((reached > radius).sum())

    if certified(most) < wanted:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if certified(middle) >= wanted else (middle, high)
    return high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("linear")
    first.add_argument("--trials", type=int, default=1000)
    second = commands.add_parser("curves")
    second.add_argument("card")
    second.add_argument("data")
    second.add_argument("--sigma", type=float, required=True)
    second.add_argument("--radii", required=True)
    second.add_argument("--samples", type=int, default=100_000)
    second.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.command == "linear":
        linear([0.5, 0.6, 0.9, 0.99, 1 - 1e-9], given.trials, 0.5)
    else:
        curves(given.card, given.data, given.sigma, given.radii.split(","), given.samples, given.out)


if __name__ == "__main__":
    main()
