"""What is proved of 200 published images within 60 CPU-s each, one thread: the curve over time limits.

    python benchmarks/complete.py NETWORK --out FOLDER [--seconds 60] [--images 200]   # goes on where it was stopped
    python benchmarks/complete.py NETWORK --out FOLDER --show

Per image: the attack `ensemble` on the whole batch (its time is shared out evenly), then what it left by
`certify --method auto --cpu-seconds`, its certificate written; replaying is timed apart. NETWORK is one of
benchmarks/certify.py's published ones, or RSL18a, cifar_base_kw, resnet2b.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import epsball as eb
from certify import COMPARED, PUBLISHED, RSL18A, SHARED, load
from epsball.classifier import Classifier
from epsball_replay import replay
from harness import single_threaded

_EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "published.py"
LIMITS = (1, 2, 5, 10, 20, 30, 60)


def main() -> None:
    """Measure what is missing, then show the curve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=[*PUBLISHED, *COMPARED, "RSL18a"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--show", action="store_true", help="only show what was measured")
    options = parser.parse_args()
    single_threaded()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.show:
        measure(options.network, options.out, options.seconds, options.images)
    show(options.network, rows(options.out))


def loaded(name: str) -> tuple[Classifier, Tensor, Tensor, str]:
    """Return a published network, its images and labels, and its radius."""
    if name in PUBLISHED:
        return (*load(PUBLISHED[name]), PUBLISHED[name].radius)
    if name == "RSL18a":
        layers = [torch.from_numpy(np.load(RSL18A / f"RSL18a_{part}.npy")).float() for part in ("W1", "B1", "W2", "B2")]
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 10)).eval()
        weights = [layers[0].T, layers[1].flatten(), layers[2].T, layers[3].flatten()]
        network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
        x, y = eb.data.load(f"idx:{SHARED / 'data' / 'mnist'},split=test")[:200]
        return Classifier(network), eb.data.as_pixels(x), y, "0.1"
    weights, mean, deviation = COMPARED[name]
    text = f"{_EXAMPLES}:{name}@{SHARED / 'models' / weights}"
    text += f",mean={':'.join(map(str, mean))},std={':'.join(map(str, deviation))}"
    x, y = eb.data.load(f"cifar10:{SHARED / 'data' / 'cifar10'},split=test")[:200]
    classifier = eb.models.load(text, shape=(3, 32, 32), classes=10).classifier()
    return classifier, eb.data.as_pixels(x), y, "1/255" if name == "cifar_base_kw" else "2/255"


def rows(folder: Path) -> dict[int, dict]:
    """Return what was measured, by image."""
    file = folder / "rows.jsonl"
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return {row["image"]: row for row in found}


def measure(name: str, folder: Path, seconds: float, images: int) -> None:
    """Attack all images, then certify those that stand, one after the other."""
    classifier, x, y, radius = loaded(name)
    x, y, ball = x[:images], y[:images], eb.Ball("linf", radius)
    attacked = _attacked(classifier, x, y, ball, folder)
    share = attacked["seconds"] / len(x)
    done = rows(folder)
    for image in range(len(x)):
        if image in done:
            continue
        row: dict = {"image": image, "verdict": attacked["verdicts"][image], "seconds": share}
        if row["verdict"] == "stands":
            row |= _certified(classifier, x, y, image, ball, seconds - share, folder)
            row["seconds"] += share
        with (folder / "rows.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def _attacked(classifier: Classifier, x: Tensor, y: Tensor, ball: eb.Ball, folder: Path) -> dict:
    file = folder / "attack.json"
    if file.exists():
        return json.loads(file.read_text())
    begun = time.process_time()
    found = eb.attack(classifier, x, y, ball, method="ensemble")
    right = classifier(x).argmax(dim=1) == y
    verdicts = ["wrong" if not r else "broken" if b else "stands" for r, b in zip(right, found.broken, strict=True)]
    result = {"seconds": time.process_time() - begun, "verdicts": verdicts}
    file.write_text(json.dumps(result))
    return result


def _certified(
    classifier: Classifier, x: Tensor, y: Tensor, image: int, ball: eb.Ball, seconds: float, folder: Path
) -> dict:
    """Return what is proved of one image, with its certificate's size and the time of its replay."""
    one, proof = slice(image, image + 1), folder / f"proof-{image:03}"
    begun = time.process_time()
    found = eb.certify(classifier, x[one], y[one], ball, cpu_seconds=seconds, folder=proof)
    row = {
        "seconds": time.process_time() - begun,
        "method": found.method[0],
        "certified": bool(found.certified[0]),
        "margin": float(found.margin[0]),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "ending": found.endings.get(0),
    }
    if row["certified"]:
        (file,) = found.files.values()
        begun = time.process_time()
        row["replayed"] = replay(file).accepted
        row["replay"], row["bytes"] = time.process_time() - begun, file.stat().st_size
    return row


def show(name: str, found: dict[int, dict]) -> None:
    """Print how many images are proved within each limit, and what proofs cost."""
    proved = [row for row in found.values() if row.get("certified")]
    counts = {verdict: sum(row["verdict"] == verdict for row in found.values()) for verdict in ("wrong", "broken")}
    within = "  ".join(f"{limit} s: {sum(row['seconds'] <= limit for row in proved)}" for limit in LIMITS)
    print(f"{name}: {len(found)} images, {counts['wrong']} wrong, {counts['broken']} broken, proved within {within}")
    if proved:
        size, replay = (float(np.median([row[key] for row in proved])) for key in ("bytes", "replay"))
        print(f"median certificate {size / 1e3:.0f} kB, median replay {replay:.2f} CPU-s")


if __name__ == "__main__":
    sys.exit(main())
