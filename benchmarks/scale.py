"""How an audit grows: peak memory, bytes and time of resuming by examples; overhead, speed-up and tail by workers.

    python benchmarks/scale.py memory --data idx:MNIST,split=train
    python benchmarks/scale.py resume --examples 200000
    python benchmarks/scale.py overhead
    python benchmarks/scale.py workers --shards 12 --seconds 10    (on idle cores)

Each measurement runs in a process of its own; what is printed is one JSON document per line.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

import epsball as eb
from epsball import data as datasets
from epsball import progress
from epsball.auditing.evidence import ShardEvidence, Witnesses
from epsball.auditing.folder import RunFolder, nearest_points, read_arrow, witnesses_in
from epsball.auditing.points import NearestPoints

BALL = eb.Ball("linf", "0.05")
SHARD = 1000
CHEAP: dict[str, Any] = {"attack": "fgsm", "certificates": "none", "limit": False, "diagnosis": False}


def cpu() -> float:
    """Return the CPU seconds of this process and of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def trained(data: datasets.Dataset, hidden: int, steps: int) -> torch.nn.Module:
    """Return a small network after a short training."""
    torch.manual_seed(0)
    module = eb.models.load(f"mlp,hidden={hidden}", shape=data.shape, classes=data.classes).module
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for step in range(steps):
        x, y = data[(start := 256 * step % (len(data) - 255)) : start + 256]
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(datasets.as_pixels(x)), y).backward()
        optimiser.step()
    return module


def memory(options: argparse.Namespace) -> None:
    """Audit the first examples of a data set, and all: peak memory, and bytes of table, ledger and witnesses each."""
    data = datasets.load(options.data)
    for count in (1, options.count or len(data)):
        measured = child("peak", "--data", options.data, "--count", str(count if count > 1 else SHARD))
        print(json.dumps(measured), flush=True)


def peak(options: argparse.Namespace) -> None:
    """Audit so many examples in this process."""
    data = datasets.load(options.data)
    module = trained(data, 32, 400)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as name:
        begun, spent = time.monotonic(), cpu()
        found = eb.audit(
            eb.Classifier(module), data.only(range(options.count)), BALL, folder=name, shard_size=SHARD, **CHEAP
        )
        sizes = {
            kind: sum(file.stat().st_size for file in Path(name).glob(f"{kind}-*")) / options.count
            for kind in ("evidence", "ledger", "witnesses", "points")
        }
        measured = {
            "examples": options.count,
            "peak MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "MiB before": round(before / 1024),
            "bytes per example": {kind: round(size) for kind, size in sizes.items()},
            "bytes of an image": data[:1][0].nbytes,
            "verdicts": found.chain.verdicts,
            "seconds": round(time.monotonic() - begun),
            "CPU seconds": round(cpu() - spent),
        }
    print(json.dumps(measured))


def resume(options: argparse.Namespace) -> None:
    """Make a folder of finished shards out of a real one, and resume it: time until the first new example."""
    with tempfile.TemporaryDirectory() as name:
        finished(Path(name) / "run", options.examples)
        for _ in range(3):
            print(json.dumps(child("resumed", "--folder", f"{name}/run", "--examples", str(options.examples))))


def drawn(count: int) -> tuple[eb.Classifier, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    with torch.no_grad():
        y = torch.cat([module(part / 255).argmax(1) for part in x.split(10000)])
    return eb.Classifier(module), (x, y)


def finished(path: Path, count: int) -> None:
    """Write a run of which `count` examples are finished and one shard is not: each shard is the first one, moved."""
    classifier, data = drawn(count + SHARD)
    shards = -(-count // SHARD)
    eb.audit(classifier, data, BALL, folder=path, shard_size=SHARD, part=f"1/{shards + 1}", **CHEAP)
    folder = RunFolder(path, json.loads((path / "run.json").read_text()))
    table, ledger = (read_arrow(path / f"{kind}-00000.arrow") for kind in ("evidence", "ledger"))
    witnesses, points = witnesses_in(path, 0), nearest_points(path, 0)
    for number in range(1, shards):
        by = number * SHARD
        near = None if points is None else NearestPoints(index=points.index + by, step=points.step, scale=points.scale)
        folder.store(
            number,
            ShardEvidence(
                table=moved(table, by),
                ledger=moved(ledger, by),
                witnesses=lambda by=by: Witnesses(index=witnesses.index + by, x=witnesses.x, x_adv=witnesses.x_adv),
                points=lambda near=near: near,
            ),
        )


def moved(table: pa.Table, by: int) -> pa.Table:
    at = table.column_names.index("index")
    index = [value if value < 0 else value + by for value in table["index"].to_pylist()]
    return table.set_column(at, table.schema.field(at), pa.array(index, table.schema.field(at).type))


def resumed(options: argparse.Namespace) -> None:
    """Call the audit again in this process until it begins the first new example."""
    classifier, data = drawn(options.examples + SHARD)
    begun, spent = time.monotonic(), cpu()

    def stop(what: str, done: int, total: int) -> None:
        if what == "examples audited" and done >= options.examples:
            measured = {"examples": done, "seconds": time.monotonic() - begun, "CPU seconds": cpu() - spent}
            peak_memory = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            print(json.dumps(measured | {"peak MiB": peak_memory, "load": os.getloadavg()[0]}), flush=True)
            os._exit(0)

    with progress.listening(stop):
        eb.audit(classifier, data, BALL, folder=options.folder, shard_size=SHARD, **CHEAP)


def workers(options: argparse.Namespace) -> None:
    """Audit so many shards of so many seconds in this process, by one worker and by two."""
    for count in (0, 1, 2):
        measured = child("shared", "--count", str(count), "--shards", str(options.shards), "--seconds", options.seconds)
        print(json.dumps(measured), flush=True)


def shared(options: argparse.Namespace) -> None:
    """Audit by so many workers: wall and CPU time, that of the shards, and the tail."""
    torch.set_num_threads(1)
    steps = steps_of(float(options.seconds))
    with tempfile.TemporaryDirectory() as name:
        wall, spent = time.monotonic(), cpu()
        audit_shards(options.shards, steps, name, options.count or None)
        wall, spent = time.monotonic() - wall, cpu() - spent
        times = [read_arrow(file).to_pylist()[0] for file in sorted(Path(name).glob("timing-*"))]
    seconds = sorted(row["seconds"] for row in times)
    measured = {
        "workers": options.count,
        "shards": len(seconds),
        "median shard": round(seconds[len(seconds) // 2], 2),
        "longest shard": round(seconds[-1], 2),
        "wall": round(wall, 1),
        "CPU": round(spent, 1),
        "seconds of the shards": round(sum(seconds), 1),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(measured))


def overhead(options: argparse.Namespace) -> None:
    """Find the CPU seconds that a worker costs per shard of 1,000 examples, and once: what is left over by one more."""
    spent = {
        (count, shards): child("spent", "--count", str(count), "--shards", str(shards))["CPU"]
        for count in (0, 1)
        for shards in (4, 16)
    }
    alone, by_worker = ((spent[count, 16] - spent[count, 4]) / 12 for count in (0, 1))
    once = spent[1, 4] - spent[0, 4] - 4 * (by_worker - alone)
    per_shard = {"alone": alone, "by a worker": by_worker, "more": by_worker - alone}
    shown = {name: round(value, 3) for name, value in (per_shard | {"once": once}).items()}
    print(json.dumps(shown | {"load": round(os.getloadavg()[0], 1)}))


def spent(options: argparse.Namespace) -> None:
    """Audit so many shards of 1,000 examples, here or by a worker: CPU seconds of all processes."""
    torch.set_num_threads(1)
    classifier, data = drawn(SHARD * options.shards)
    with tempfile.TemporaryDirectory() as name:
        begun = cpu()
        eb.audit(classifier, data, BALL, folder=name, shard_size=SHARD, workers=options.count or None, **CHEAP)
        print(json.dumps({"CPU": cpu() - begun}))


def audit_shards(shards: int, steps: int, folder: str, count: int | None) -> None:
    """Audit shards of 64 examples by a PGD of so many steps that does not end early."""
    classifier, (x, y) = drawn(64 * shards)
    options = CHEAP | {"attack": f"pgd,steps={steps},restarts=1", "certificates": "none", "shard_size": 64}
    eb.audit(classifier, (x, y), eb.Ball("linf", "1/1000"), folder=folder, workers=count, **options)


def steps_of(seconds: float) -> int:
    """Return with how many steps a shard takes so many CPU seconds: fixed cost and cost per step from two audits."""
    few, many = 200, 1000
    spent = []
    for steps in (few, few, many):
        with tempfile.TemporaryDirectory() as name:
            begun = cpu()
            audit_shards(1, steps, name, None)
            spent.append(cpu() - begun)
    per_step = (spent[2] - spent[1]) / (many - few)
    return max(1, round((seconds - spent[1]) / per_step) + few)


def child(*arguments: str) -> dict[str, Any]:
    """Run one measurement in a process of its own, and return what it printed last."""
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


ROLES: dict[str, Callable[[argparse.Namespace], None]] = {
    role.__name__: role for role in (memory, peak, resume, resumed, overhead, spent, workers, shared)
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=tuple(ROLES))
    parser.add_argument("--data")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--examples", type=int, default=200_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--seconds", default="10")
    options = parser.parse_args()
    ROLES[options.what](options)


if __name__ == "__main__":
    main()
