"""A fault campaign: a small audit is killed, starved and tampered with; it ends with the same bytes, or says why not.

    python benchmarks/faults.py --kills 60 --out docs/faults.md

Each trial forks this process, which has everything loaded, so that a trial costs what the audit costs.
"""

import argparse
import errno
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import epsball as eb
from epsball.auditing.manifest import run_files
from epsball.auditing.running import part as _part  # noqa: F401  (loaded before the forks)

BALL = eb.Ball("linf", "0.05")
OPTIONS: dict[str, Any] = {"attack": "pgd,steps=10", "shard_size": 6, "diagnosis": True}
EXAMPLES = 24


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))


def audit(folder: Path, *, seed: int = 0, **options: Any) -> eb.Audit:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(EXAMPLES, 16, generator=generator)
    y = network()(x).argmax(1)
    y[::10] = (y[::10] + 1) % 4
    return eb.audit(eb.Classifier(network(seed)), (x, y), BALL, folder=folder, **{**OPTIONS, **options})


def content(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in run_files(folder)}


@dataclass
class Child:
    """A forked process that does something, and what it said."""

    pid: int
    said: Path

    def wait(self) -> tuple[int, str]:
        """Return the exit code and what was said."""
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status), self.said.read_text()


def forked(work: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> Child:
    handle, name = tempfile.mkstemp()
    os.close(handle)
    pid = os.fork()
    if pid:
        return Child(pid, Path(name))
    code = 0
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    try:
        before()
        work()
    except BaseException as error:
        code = 1 if isinstance(error, eb.EpsballError) else 70
        text = str(error) if code == 1 else "".join(traceback.format_exception(error))
        Path(name).write_text(text)
    os._exit(code)


@dataclass
class Row:
    """A fault, and what became of its trials."""

    fault: str
    trials: int = 0
    same: int = 0
    named: int = 0
    wrong: int = 0
    said: str = ""


class Campaign:
    """The trials, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        started = time.monotonic()
        assert_done(forked(lambda: audit(folder / "whole")).wait())
        self.seconds = time.monotonic() - started
        self.expected = content(folder / "whole")
        self.rows: list[Row] = []

    def fresh(self) -> Path:
        """Return a folder that no trial has used."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / "run"

    def ended(self, row: Row, folder: Path, result: tuple[int, str]) -> None:
        """Count how a trial ended."""
        code, said = result
        row.trials += 1
        if code == 0:
            same = content(folder) == self.expected
            row.same, row.wrong = row.same + same, row.wrong + (not same)
        elif code == 1:
            row.named, row.said = row.named + 1, said
        else:
            row.wrong, row.said = row.wrong + 1, said

    def killed_drivers(self, kills: int) -> None:
        """Kill -9 at random times; then the same call must end with the same bytes."""
        row = Row("kill -9 of the audit, at a random time; then again")
        done = 0
        while done < kills:
            folder = self.fresh()
            for _ in range(random.randint(1, 4)):
                child = forked(lambda folder=folder: audit(folder))
                time.sleep(random.random() * self.seconds)
                os.kill(child.pid, signal.SIGKILL)
                done += child.wait()[0] == -signal.SIGKILL
            self.ended(row, folder, forked(lambda folder=folder: audit(folder)).wait())
            shutil.rmtree(folder.parent)
        row.fault += f" ({done} kills)"
        self.rows.append(row)

    def killed_workers(self, runs: int) -> None:
        """Kill workers of a running audit at random times."""
        row, kills = Row("kill -9 of a worker, at a random time"), 0
        for _ in range(runs):
            folder = self.fresh()
            child = forked(lambda folder=folder: audit(folder, workers=2))
            for _ in range(2):
                time.sleep(1 + 4 * random.random())
                for pid in children(child.pid)[:1]:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                    kills += 1
            self.ended(row, folder, child.wait())
        row.fault += f" ({kills} kills)"
        self.rows.append(row)

    def killed_driver_of_workers(self, runs: int) -> None:
        """Kill the process that has the workers; then the same call must end with the same bytes."""
        row = Row("kill -9 of the process that has the workers; then again")
        for _ in range(runs):
            folder = self.fresh()
            child = forked(lambda folder=folder: audit(folder, workers=2))
            time.sleep(4 + 6 * random.random())
            workers = children(child.pid)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            deadline = time.monotonic() + 30
            while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
                time.sleep(0.1)
            self.ended(row, folder, forked(lambda folder=folder: audit(folder)).wait())
        self.rows.append(row)

    def spoilt(self, fault: str, pattern: str, change: Callable[[bytes], bytes]) -> None:
        """Change a file of a run that is under way; the audit must name it."""
        row, folder = Row(fault), self.fresh()
        shutil.copytree(self.folder / "whole", folder)
        for name in ("manifest.json", "chain.json", "diagnosis.json", "diagnosis.arrow", "limit.arrow"):
            (folder / name).unlink()
        file = sorted(folder.glob(pattern))[0]
        file.write_bytes(change(file.read_bytes()))
        self.ended(row, folder, forked(lambda: audit(folder)).wait())
        self.rows.append(row)

    def trial(self, fault: str, before: Callable[[], Any] = lambda: None, **options: Any) -> None:
        """Audit under a fault, then without it in the same folder."""
        row, folder = Row(fault), self.fresh()
        folder.mkdir()
        folder.chmod(options.pop("mode", 0o777))
        folder.parent.chmod(0o777)
        self.ended(row, folder, forked(lambda: audit(folder, **options), before).wait())
        folder.chmod(0o777)
        self.ended(row, folder, forked(lambda: audit(folder)).wait())
        self.rows.append(row)

    def swapped_model(self) -> None:
        """Audit another model into a folder that has begun."""
        row, folder = Row("another model in a folder that has begun"), self.fresh()
        shutil.copytree(self.folder / "whole", folder)
        self.ended(row, folder, forked(lambda: audit(folder, seed=5)).wait())
        self.rows.append(row)

    def corrupt_model_file(self) -> None:
        """Load weights that were cut and overwritten."""
        row = Row("a model file with changed bytes")
        weights = self.folder / "weights.pt"
        torch.save(network().state_dict(), weights)
        data = bytearray(weights.read_bytes())
        data[len(data) // 3 : len(data) // 3 + 64] = bytes(64)
        weights.write_bytes(data[: len(data) // 2])

        def load() -> None:
            eb.models.load(f"mlp,hidden=32@{weights}", shape=(16,), classes=4)

        self.ended(row, self.folder / "whole", forked(load).wait())
        self.rows.append(row)

    def two_at_once(self) -> None:
        """Audit into a folder while another process does."""
        row, folder = Row("two audits in one folder at once"), self.fresh()
        first = forked(lambda: audit(folder))
        time.sleep(self.seconds / 4)
        self.ended(row, folder, forked(lambda: audit(folder)).wait())
        self.ended(row, folder, first.wait())
        self.rows.append(row)


def assert_done(result: tuple[int, str]) -> None:
    if result[0] != 0:
        raise SystemExit(result[1])


def children(pid: int) -> list[int]:
    """Return the worker processes of a process: those of its children that are not the tracker of resources."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == pid and "spawn_main" in command:
            found.append(int(path.parent.name))
    return found


def full_disk(after: int) -> Callable[[], None]:
    """Return what makes every flush to disk fail, from the so-manieth on, as on a full disk."""

    def install() -> None:
        real, count = os.fsync, 0

        def fsync(handle: int) -> None:
            nonlocal count
            count += 1
            if count > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(handle)

        os.fsync = fsync

    return install


def clock_jump() -> None:
    """Let the clock jump by an hour at every look, forth and back."""
    real, looks = time.time, [0]

    def jumping() -> float:
        looks[0] += 1
        return real() + (3600 if looks[0] % 2 else -3600)

    time.time = jumping


def report(rows: list[Row], seconds: float, count: int) -> str:
    lines = [
        "# What faults do",
        "",
        f"`python benchmarks/faults.py --kills {count}` audits {EXAMPLES} examples in four shards (PGD, certificates, "
        "limit, diagnosis)",
        "under one fault after another. A trial ends with the same bytes as the run without a fault, or with an error",
        "that names the fault; anything else is wrong. Where the audit is called again after the fault, that call is a",
        "trial too. ENOSPC is raised by a stand-in for `fsync`.",
        "",
        "| fault | trials | same bytes | named | wrong or lost | what it says |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        said = " ".join(row.said.replace("|", r"\|").split())
        lines.append(f"| {row.fault} | {row.trials} | {row.same} | {row.named} | {row.wrong} | {said[:300]} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--workers", type=int, default=6, help="runs with workers, of each kind")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        campaign = Campaign(Path(name))
        print(f"one audit: {campaign.seconds:.1f} s", flush=True)
        campaign.spoilt("a changed bit in a finished shard", "evidence-*", lambda c: flipped(c))
        campaign.spoilt("a changed bit in a witness", "witnesses-*", lambda c: flipped(c))
        campaign.spoilt("a shard cut in half", "evidence-*", lambda c: c[: len(c) // 2])
        campaign.swapped_model()
        campaign.corrupt_model_file()
        campaign.trial("a full disk, from the 1st file on; then room again", full_disk(0))
        campaign.trial("a full disk, from the 12th file on; then room again", full_disk(11))
        campaign.trial("a full disk, from the 40th file on; then room again", full_disk(39))
        campaign.trial("a folder that cannot be written; then it can", lambda: os.setuid(65534), mode=0o555)
        campaign.trial("a clock that jumps by an hour", clock_jump)
        campaign.two_at_once()
        print(report(campaign.rows, campaign.seconds, options.kills), flush=True)
        campaign.killed_drivers(options.kills)
        campaign.killed_workers(options.workers)
        campaign.killed_driver_of_workers(options.workers // 2)
        text = report(campaign.rows, campaign.seconds, options.kills)
        print(text)
        if options.out is not None:
            options.out.write_text(text)
        if any(row.wrong for row in campaign.rows):
            raise SystemExit(1)


def flipped(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


if __name__ == "__main__":
    main()
