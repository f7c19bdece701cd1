"""What a baseline's points find of what is newly broken in a retrained network.

``python benchmarks/baseline.py --out FILE`` makes the 20 pairs that FILE lacks, one line each, and prints the table.

Per pair: a small network on the digits and the same one trained anew from another seed, plainly or against PGD. The
first is audited; the second in full, and with the first as its baseline. Printed per pair: how many examples are newly
broken, how many of them fell to the baseline's points and the few steps from there, which share of the full audit's
passes that took, and whether both audits compare alike with the first at every place of the chain.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import epsball as eb
from epsball.data import as_pixels

EXAMPLES, EPOCHS = 100, 20


def network(kind: str, seed: int) -> nn.Module:
    """Return an untrained network."""
    torch.manual_seed(seed)
    if kind == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(256, 10),
    )  # fmt: skip


def trained(kind: str, seed: int, radius: float, x: Tensor, y: Tensor) -> nn.Module:
    """Return a network trained plainly, or against three steps of PGD where the radius is positive."""
    module = network(kind, seed)
    optimiser = torch.optim.Adam(module.parameters(), 2e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(64):
            points = x[rows]
            step = (2 * torch.rand_like(points) - 1) * radius
            for _ in range(3 if radius else 0):
                leaf = (x[rows] + step).requires_grad_()
                (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(module(leaf), y[rows]), leaf)
                step = (step + 0.7 * radius * gradient.sign()).clamp(-radius, radius)
            points = (points + step).clamp(0, 1).detach()
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(points), y[rows]).backward()
            optimiser.step()
    return module


def passes(ledger: object, name: str | None = None) -> int:
    """Return the passes in a ledger, of one attack or of all."""
    rows = ledger.to_pylist()  # pyright: ignore[reportAttributeAccessIssue]
    return sum(row["forwards"] + row["backwards"] for row in rows if name is None or row["attack"] == name)


def verdicts(runs: list[Path]) -> list[str | None]:
    """Return which network is better at each place of the chain."""
    named = {"first": runs[0], "second": runs[1]}
    return [difference.better for difference in eb.compare(named).differences]


def pair(number: int, data: tuple[Tensor, Tensor], folder: Path) -> dict[str, Any]:
    """Audit a pair and return what was counted."""
    kind, defended = ("mlp", "cnn")[number % 2], number % 4 >= 2
    radius = 0.1 if defended else 0.05
    train_x, train_y = eb.data.load("digits,split=train")[:]
    modules = [
        trained(kind, 100 * number + k, radius if defended else 0.0, as_pixels(train_x), train_y) for k in (0, 1)
    ]
    first, second = (eb.Classifier(module) for module in modules)
    ball, options = eb.Ball("linf", radius), {"limit": False, "diagnosis": False}
    paths = [folder / f"{number}-{name}" for name in ("first", "full", "short")]
    audits = [
        eb.audit(first, data, ball, folder=paths[0], **options),
        eb.audit(second, data, ball, folder=paths[1], **options),
        eb.audit(second, data, ball, folder=paths[2], baseline=paths[0], **options),
    ]
    stood, full, short = (
        [verdict in ("certified", "undecided") for verdict in audit.evidence["verdict"].to_pylist()] for audit in audits
    )
    right = audits[1].evidence["natural.correct"].to_pylist()
    taken = audits[2].evidence["taken.broken"].to_pylist()
    new = [a and r and not b for a, r, b in zip(stood, right, full, strict=True)]
    return {
        "pair": number,
        "kind": kind,
        "defended": defended,
        "newly broken": sum(new),
        "found": sum(n and t for n, t in zip(new, taken, strict=True)),
        "tried": passes(audits[2].ledger, "baseline"),
        "share of passes": passes(audits[2].ledger, "baseline") / passes(audits[1].ledger),
        "passes": [passes(audit.ledger) for audit in audits],
        "only in full": sum(s and not f for s, f in zip(short, full, strict=True)),
        "alike": verdicts(paths[:2]) == verdicts([paths[0], paths[2]]),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return a line per pair, and one of all."""
    head = ("pair", "network", "newly broken", "found", "share of the passes", "verdicts alike")
    lines = [f"| {' | '.join(head)} |", "| ---: | --- | ---: | ---: | ---: | --- |"]
    for row in sorted(rows, key=lambda row: row["pair"]):
        kind = row["kind"] + (", PGD-3" if row["defended"] else "")
        share, alike = f"{row['share of passes']:.2%}", "yes" if row["alike"] else "no"
        lines.append(f"| {row['pair']} | {kind} | {row['newly broken']} | {row['found']} | {share} | {alike} |")
    new, found = (sum(row[name] for row in rows) for name in ("newly broken", "found"))
    share = sum(row["tried"] for row in rows) / sum(row["passes"][1] for row in rows)
    alike = sum(row["alike"] for row in rows)
    lines.append(f"| all {len(rows)} | | {new} | {found} | {share:.2%} | {alike} of {len(rows)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the pairs that are not there yet, one line each, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", default="0:20", help="FIRST:LAST")
    parser.add_argument("--out", type=Path, required=True, help="one line per pair")
    arguments = parser.parse_args()
    first, last = map(int, arguments.pairs.split(":"))
    torch.set_num_threads(1)
    x, y = eb.data.load(f"digits,first={EXAMPLES}")[:]
    rows = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    done = {row["pair"] for row in rows}
    with tempfile.TemporaryDirectory() as folder, arguments.out.open("a") as file:
        for number in range(first, last):
            if number not in done:
                rows.append(pair(number, (as_pixels(x), y), Path(folder)))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
    print(table(rows))


if __name__ == "__main__":
    main()
