"""Run folders as audits leave them, with verdicts that a test chooses."""

import json

import pyarrow as pa

from epsball.auditing.manifest import write_runs
from epsball.results import arrow_bytes

N = 40


def recorded(folder, *, broken=(), wrong=(), certified=(), network="a", **identity):
    """Write a run folder as an audit leaves it, with these verdicts."""
    rows = range(N)
    verdicts = {"broken": broken, "misclassified": wrong, "certified": certified}
    table = pa.table(
        {
            "index": pa.array([10 * row for row in rows], pa.int64()),
            "label": pa.array([row % 3 for row in rows], pa.int64()),
            "verdict": [next((v for v, those in verdicts.items() if row in those), "undecided") for row in rows],
            "natural.correct": [row not in wrong for row in rows],
            "natural.failed": [False] * N,
            "certificate.certified": [row in certified for row in rows],
            "attack.broken": [row in broken for row in rows],
        }
    )
    folder.mkdir(parents=True)
    described = {"network": network, "data": "d", "ball": "linf:1/10", "links": {"attack": {"type": "PGD"}}} | identity
    (folder / "run.json").write_text(json.dumps({"identity": described, "probe": []}))
    (folder / "evidence-00000.arrow").write_bytes(arrow_bytes(table.slice(0, 25)))
    (folder / "evidence-00001.arrow").write_bytes(arrow_bytes(table.slice(25)))
    (folder / "chain.json").write_text("{}")
    return folder


def recorded_radii(folder, verdicts, *, network="a"):
    """Write a folder of runs within several balls: the verdicts of each by its radius."""
    runs = {}
    for radius, those in verdicts.items():
        name = f"linf-{radius}"
        recorded(folder / name, network=network, ball=f"linf:{radius}", **those)
        runs[name] = (f"linf:{radius}", None)
    write_runs(folder, runs)
    return folder
