"""Randomised smoothing: against the truth on linear classifiers, and a confidence sequence against fixed numbers.

    python benchmarks/smoothing.py linear
    python benchmarks/smoothing.py curves CARD DATA --sigma 0.25 --radii 0,0.25,0.5,0.75 --out FOLDER

The first takes two-class linear classifiers, whose radius is |w.x + b| / ||w||, and asks whether more radii than alpha
lie above it. The second certifies the same examples by a fixed number of samples and by the sequence, asked about one
radius and about all of them at once, and prints for each radius the sequence's mean number of samples over the least
fixed number that certifies as many. With `--out` the votes are kept, and the same command goes on after a stop.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest, norm
from torch import nn

import epsball as eb
from epsball.names import ShareBound
from epsball.smoothing import Smoothed, fixed_bound
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
    """Print both curves, and what the sequence saves, by radius."""
    classifier = eb.models.load(card).classifier()

    def smoothed(asked: list[str], bound: ShareBound, name: str) -> Smoothed:
        start = time.process_time()
        folder = out and out / name
        found = eb.smooth(classifier, data, sigma=sigma, radii=asked, samples=samples, bound=bound, folder=folder)
        print(found, "\n", f"CPU seconds: {time.process_time() - start:.0f}\n", flush=True)
        return found

    together = smoothed(radii, "sequence", "sequence")
    alone = {radius: smoothed([radius], "sequence", f"radius-{radius}") for radius in radii}
    fixed = smoothed(radii, "fixed", "fixed")
    right = fixed.rows.predicted == fixed.rows.label
    # The share of each example, as well as the fixed number of samples tells it.
    share = (fixed.rows.count / fixed.rows.samples)[right]
    print("radius  asked     sequence  fixed  lost  gained  p      mean samples  fixed for as many  ratio")
    for radius in radii:
        for asked, by_sequence in (("alone", alone[radius]), ("together", together)):
            compared(radius, asked, by_sequence, fixed, (share, sigma, samples))


def compared(radius: str, asked: str, by_sequence: Smoothed, fixed: Smoothed, least_of: tuple) -> None:
    """Print what a sequence certifies at a radius beside the fixed number of samples, and at what cost."""
    held, as_published = by_sequence.certified_at(radius), fixed.certified_at(radius)
    lost, gained = int((as_published & ~held).sum()), int((held & ~as_published).sum())
    p = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    share, sigma, samples = least_of
    least = _least(share, sigma, float(radius), int(held.sum()), samples)
    mean = by_sequence.rows.samples.mean()
    ratio = "-" if least is None else f"{mean / least:.3f}"
    shown = f"more than {samples}" if least is None else str(least)
    counts = f"{held.sum():<9} {as_published.sum():<6} {lost:<5} {gained:<7} {p:<6.3f}"
    print(f"{float(radius):<7g} {asked:<9} {counts} {mean:<13,.0f} {shown:<18} {ratio}")


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
