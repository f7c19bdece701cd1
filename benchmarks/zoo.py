"""The zoo's defences under naive PGD, under the attack that knows each, and under the automatic one.

    python -m epsball zoo train --out ZOO --mnist DIR --cifar10 DIR
    python benchmarks/zoo.py ZOO --mnist DIR --cifar10 DIR [--count 100] [--only NAME ..] [--output FILE.json]

Writes what was measured after each defence, and goes on where it stopped; `--print` prints the table again.
"""

import argparse
import json
import statistics
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import epsball as eb
from epsball.chapter.zoo.loading import defended
from epsball.chapter.zoo.places import Folders, by_name, data_text
from epsball.errors import EpsballError
from epsball.files import write_json
from epsball.masking.zoo import DEFENCES, Defence
from epsball.statistics import clopper_pearson
from harness import interleaved, single_threaded

NAIVE = "pgd,steps=20"
AUTOMATIC = "adaptive"


def main() -> None:
    """Measure, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path, nargs="?")
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--cifar10", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=list(DEFENCES))
    parser.add_argument("--columns", nargs="*", default=["naive", "adaptive", "automatic"])
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/zoo.json"))
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--decoding", action="store_true", help="time PixelDefend only")
    options = parser.parse_args()
    single_threaded()
    if options.decoding:
        print(json.dumps(decoding(options.zoo, options.count)))
        return
    measured: dict[str, Any] = json.loads(options.output.read_text()) if options.output.exists() else {}
    if not options.print:
        folders: Folders = {"mnist": options.mnist, "cifar10": options.cifar10}
        for name in options.only:
            row = measured.setdefault(name, {})
            for column in options.columns:
                if column not in row:
                    row |= measure(DEFENCES[name], column, options.zoo, folders, options.count)
                    write_json(options.output, measured)
    print(table(measured))


def measure(defence: Defence, column: str, zoo: Path, folders: Folders, count: int) -> dict[str, Any]:
    """Return natural accuracy and one attack's entry."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", eb.data.IncompleteData)
        x, y = eb.data.load(data_text(by_name(defence.base).data, folders))[:count]
    classifier = defended(defence.name, zoo)
    natural = predicted(classifier, x) == y
    method = {"naive": NAIVE, "automatic": AUTOMATIC}.get(column) or defence.adaptive(classifier)
    begun = time.process_time()
    entry = under(classifier, x, y, natural, eb.Ball.parse(defence.ball), method)
    entry["seconds"] = round(time.process_time() - begun, 1)
    print(defence.name, column, entry, flush=True)
    return {"ball": defence.ball, "count": count, "natural": int(natural.sum()), column: entry}


def predicted(classifier: eb.Classifier, x: Tensor) -> Tensor:
    """Return the predictions, those of a random classifier by the mean softmax over its repetitions, as in verdicts."""
    torch.manual_seed(0)
    repetitions = classifier.repetitions if classifier.stochastic else 1
    passes = [classifier.logits(x).double().softmax(1) for _ in range(repetitions)]
    return torch.stack(passes).mean(0).argmax(1)


def under(
    classifier: eb.Classifier, x: Tensor, y: Tensor, natural: Tensor, ball: eb.Ball, method: str | eb.attacks.Attack
) -> dict[str, Any]:
    """Return how many images stand: classified correctly, not rejected, and not broken."""
    try:
        result = eb.attack(classifier, x, y, ball, method=method)
    except EpsballError as error:
        return {"standing": int(natural.sum()), "refused": str(error)}
    forward, backward = result.ledger.passes
    return {"standing": int((natural & ~result.broken).sum()), "forward": forward, "backward": backward}


def decoding(zoo: Path, count: int) -> dict[str, Any]:
    """Return CPU seconds of purifying digits pixel by pixel, of one forward pass of the prior, and of the network."""
    purify, network = defended("SKN18", zoo).module.children()
    x, _ = eb.data.load("digits")[:count]
    runs = {"purified": purify, "prior": purify.get_submodule("prior"), "network": network}
    with torch.no_grad():
        seconds = interleaved({name: partial(run, x) for name, run in runs.items()}, repetitions=7, seed=0)
    return {"count": count, "seconds": {name: statistics.median(times) for name, times in seconds.items()}}


def table(measured: dict[str, Any]) -> str:
    """Return the rows of the documentation's table."""
    header = ["defence", "network", "ball", "natural", "naive PGD", "its adaptive attack", "`adaptive`", "published"]
    lines = [row(header), row(["---"] * len(header))]
    for name, entry in measured.items():
        defence = DEFENCES[name]
        cells = [shown(entry.get(column), entry["count"]) for column in ("naive", "adaptive", "automatic")]
        published = "" if defence.published is None else f"{defence.published / 100:.2f}"
        lines.append(
            row([name, defence.base, entry["ball"], f"{entry['natural'] / entry['count']:.2f}", *cells, published])
        )
    return "\n".join(lines)


def shown(entry: dict[str, Any] | None, count: int) -> str:
    """Return an accuracy with its interval."""
    if entry is None:
        return ""
    interval = clopper_pearson(entry["standing"], count)
    mark = " *" if "refused" in entry else ""
    return f"{entry['standing'] / count:.2f} [{interval.low:.2f}, {interval.high:.2f}]{mark}"


def row(cells: list[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
