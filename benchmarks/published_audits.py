"""Audits of four published networks: ``python benchmarks/published_audits.py --nets NETS --data DATA --runs RUNS``.

Per network two runs: natural pass and attack on all test images at effort ``quick``, without certificates; the first
200 images at effort ``standard``, with them. NETS and DATA are the folders of the published weights and of the data,
RUNS holds the runs: the same command goes on after a kill, and what is finished is not made again. Of each run the
CPU seconds are kept, and how many of them the pillars took: search, bounds, canonical pass, diagnosis and limit. The
rest is the audit's own: reading, evidence, ledgers, files. ``published_tables.py`` writes what is finished as tables.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import epsball as eb
from epsball.attacks.engine.judge import Judge
from epsball.auditing import searching
from epsball.auditing.examination import Examination
from epsball.auditing.links import limit
from epsball.auditing.parts import Parts
from epsball.certificates import Certification
from published_networks import NETWORKS

COUNT = 200
"""Images with certificates."""

PILLARS = (
    (Judge, "logits"),
    (searching, "search"),
    (Certification, "certificates"),
    (Examination, "run"),
    (limit, "link_columns"),
)
"""Where an audit calls what is not its own."""


def main() -> None:
    """Make what is not finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", type=Path, required=True, help="folder of the published weights")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--only", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--parts", nargs="*", choices=["attack", "certificates"], default=["attack", "certificates"])
    parser.add_argument("--count", type=int, default=COUNT, help="images with certificates")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for part in arguments.parts:
        for name in arguments.only:
            made(name, part, arguments)


def made(name: str, part: str, arguments: argparse.Namespace) -> None:
    """Make a run, or go on with it."""
    folder = arguments.runs / f"{name}-{part}"
    published = NETWORKS[name]
    model = published.model.replace("NETS", str(arguments.nets))
    count = published.first if part == "attack" else arguments.count
    text = published.data.replace("DATA", str(arguments.data)) + (f",first={count}" if count else "")
    options = {"effort": "quick", "certificates": "none"} if part == "attack" else {"effort": "standard"}
    data = eb.data.load(text)
    classifier = eb.models.load(model, shape=data.shape, classes=data.classes).classifier()
    watch = Watch()
    try:
        with watch.over_pillars():
            audit = eb.audit(classifier, data, eb.Ball.parse(published.ball), folder=folder, **options)
    finally:
        noted(folder, watch.spent)
    print(f"{name} {part}: {dict(audit.chain.verdicts)} {watch.spent}", flush=True)


class Watch:
    """CPU seconds of the pillars' own work, and of everything else."""

    def __init__(self) -> None:
        self.spent = {"pillars": 0.0, "audit": 0.0}
        self._now, self._since = "audit", time.process_time()

    def charged(self, to: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return work whose time is charged to one of both."""

        @functools.wraps(work)
        def timed(*arguments: Any, **options: Any) -> Any:
            before = self._switch(to)
            try:
                return work(*arguments, **options)
            finally:
                self._switch(before)

        return timed

    def _switch(self, to: str) -> str:
        now = time.process_time()
        self.spent[self._now] += now - self._since
        before, self._now, self._since = self._now, to, now
        return before

    @contextmanager
    def over_pillars(self) -> Iterator[None]:
        """Watch what the pillars do for an audit; writing down what a batch found is the audit's."""
        filed = Parts._filed

        def keeping(parts: Parts, name: str, compute: Callable[[], Any], form: Any) -> Any:
            return filed(parts, name, self.charged("pillars", compute), form)

        with ExitStack() as stack:
            for place, verb in PILLARS:
                stack.enter_context(patch.object(place, verb, self.charged("pillars", getattr(place, verb))))
            stack.enter_context(patch.object(Parts, "_filed", self.charged("audit", keeping)))
            self._switch("audit")
            self.spent = dict.fromkeys(self.spent, 0.0)
            yield
        self._switch("audit")


def noted(folder: Path, spent: Mapping[str, float]) -> None:
    """Add the CPU seconds of a command to those of the ones before."""
    file = folder / "cpu.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({name: before.get(name, 0.0) + seconds for name, seconds in spent.items()}))


if __name__ == "__main__":
    main()
