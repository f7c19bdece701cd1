"""A fault campaign: a small audit is killed, starved and tampered with; it ends with the same bytes, or says why not.

    python benchmarks/faults.py --minutes 9 --state runs/faults.jsonl --out docs/faults.md

Each trial forks this process, which has everything loaded, so that a trial costs what the audit costs. A trial is one
line of the state: the campaign is ended at any time and goes on where it stopped.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import epsball as eb
from epsball.auditing.manifest import run_files
from epsball.auditing.running import part as _part  # noqa: F401  (loaded before the forks)
from epsball.workers import Workers

BALL = eb.Ball("linf", "0.05")
SHARDS, SHARD = 4, 4
OPTIONS: dict[str, Any] = {"attack": "pgd,steps=10", "shard_size": SHARD, "diagnosis": True, "branching": 5000}

Result = tuple[int, str]
"""Exit code of an audit (0 done, 1 an error of epsball, negative: a signal), and what it said."""


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(SHARDS * SHARD, 16, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        y = network()(x).argmax(1)
    y[::10] = (y[::10] + 1) % 4
    return x, y


def audit(folder: Path, *, seed: int = 0, **options: Any) -> eb.Audit:
    return eb.audit(eb.Classifier(network(seed)), data(), BALL, folder=folder, **OPTIONS, **options)


@dataclass(frozen=True)
class FromFile:
    """How a worker loads the model of a file anew."""

    weights: Path

    def __call__(self, number: int) -> tuple[eb.Classifier, Any, eb.Ball]:
        """Return classifier, data and ball."""
        module = network()
        module.load_state_dict(torch.load(self.weights, weights_only=True))
        return eb.Classifier(module), data(), BALL


def content(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in run_files(folder)}


def phase(folder: Path) -> str:
    """Return where an audit is, by what its folder holds."""
    if not (folder / "run.json").exists():
        return "start"
    done = len(list(folder.glob("evidence-*")))
    if done < SHARDS:
        return f"shard {done + 1}"
    return "end" if (folder / "diagnosis.json").exists() else "diagnosis"


PHASES = ("start", *(f"shard {k}" for k in range(1, SHARDS + 1)), "diagnosis", "end")


@dataclass
class Child:
    """A forked process that does something, and what it said."""

    pid: int
    said: Path
    result: Result | None = None

    def ended(self) -> bool:
        """Return whether it is over, without waiting."""
        if self.result is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.result = None if not pid else (os.waitstatus_to_exitcode(status), self.said.read_text())
        return self.result is not None

    def wait(self) -> Result:
        """Return how it ended."""
        while not self.ended():
            time.sleep(0.02)
        return self.result or (0, "")

    def kill(self) -> bool:
        """Kill it; return whether it was still there."""
        if self.ended():
            return False
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()[0] == -signal.SIGKILL


def forked(work: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> Child:
    handle, name = tempfile.mkstemp(prefix="said-")
    pid = os.fork()
    if pid:
        os.close(handle)
        return Child(pid, Path(name))
    code = 0
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    try:
        before()
        work()
    except BaseException as error:
        code = 1 if isinstance(error, eb.EpsballError) else 70
        os.write(handle, (str(error) if code == 1 else "".join(traceback.format_exception(error))).encode())
    os._exit(code)


@dataclass
class Trial:
    """A trial of a fault: how often it struck, where, how each call ended, and what was said."""

    fault: str
    number: int
    struck: int = 0
    phases: list[str] = field(default_factory=list)
    same: int = 0
    named: int = 0
    wrong: int = 0
    said: str = ""


class Campaign:
    """The trials, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.whole = folder, folder / "whole"
        self.load()
        begun, self.lengths, at = time.monotonic(), dict.fromkeys(PHASES, 0.0), "start"
        child = forked(lambda: audit(self.whole))
        while not child.ended():
            time.sleep(0.005)
            now = phase(self.whole)
            self.lengths[at], at = self.lengths[at] + time.monotonic() - begun, now
            begun = time.monotonic()
        if child.wait()[0]:
            raise SystemExit(child.wait()[1])
        self.expected = content(self.whole)
        self.seconds = sum(self.lengths.values())

    def load(self) -> None:
        """Import here whatever an audit imports, so that no trial does; the audit itself must not run before a fork."""
        names = self.folder / "modules"

        def once() -> None:
            audit(self.folder / "first")
            names.write_text("\n".join(list(sys.modules)))

        code, said = forked(once).wait()
        if code:
            raise SystemExit(said)
        for name in names.read_text().split():
            with suppress(Exception):
                import_module(name)

    def fresh(self, copied: bool = False) -> Path:
        """Return a folder that no trial has used; with the shards of the whole run if asked."""
        folder = Path(tempfile.mkdtemp(dir=self.folder)) / "run"
        if copied:
            shutil.copytree(self.whole, folder)
            for name in ("manifest.json", "chain.json", "diagnosis.json", "diagnosis.arrow", "limit.arrow"):
                (folder / name).unlink()
        return folder

    def judge(self, trial: Trial, folder: Path, result: Result, *, must: str = "either") -> None:
        """Count how a call ended; one that had to end well, or to be refused, and did not, is wrong."""
        code, said = result
        if code == 0 and must != "named" and content(folder) == self.expected:
            trial.same += 1
        elif code == 1 and must != "same":
            trial.named += 1
            trial.said = trial.said or said.replace(str(folder), "FOLDER").replace(str(self.folder), "DIR")
        else:
            trial.wrong += 1
            trial.said = f"WRONG (exit code {code}, {must} expected): {said[-1500:]}"

    def again(self, trial: Trial, folder: Path) -> None:
        """Call once more, without a fault: now it must end with the same bytes."""
        self.judge(trial, folder, forked(lambda: audit(folder)).wait(), must="same")

    def kill_in(self, child: Child, folder: Path, where: str, trial: Trial) -> None:
        """Kill a process at a random time of a phase, if it gets there."""
        while not child.ended() and PHASES.index(phase(folder)) < PHASES.index(where):
            time.sleep(0.002)
        time.sleep(random.random() * self.lengths[where])
        at = phase(folder)
        if child.kill():
            trial.struck += 1
            trial.phases.append(at)

    def killed_audit(self, trial: Trial) -> None:
        """Kill the audit in phases of its, in their order."""
        folder = self.fresh()
        for where in sorted(random.choices(PHASES, k=4), key=PHASES.index):
            self.kill_in(forked(lambda: audit(folder)), folder, where, trial)
        self.again(trial, folder)

    def killed_worker(self, trial: Trial) -> None:
        """Kill two workers of an audit, each at a random time."""
        folder = self.fresh()
        child = forked(lambda: audit(folder, workers=2))
        for _ in range(2):
            while not child.ended() and not children(child.pid):
                time.sleep(0.05)
            time.sleep(random.random() * (self.seconds + 4))
            for pid in random.sample(found := children(child.pid), k=min(1, len(found))):
                at = phase(folder)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    trial.struck += 1
                    trial.phases.append(at)
        self.judge(trial, folder, child.wait())
        self.again(trial, folder)

    def killed_driver(self, trial: Trial) -> None:
        """Kill the process that has the workers, which must end by themselves."""
        folder = self.fresh()
        child = forked(lambda: audit(folder, workers=2))
        while not child.ended() and not children(child.pid):
            time.sleep(0.05)
        time.sleep(random.random() * (self.seconds + 4))
        workers, at = children(child.pid), phase(folder)
        if child.kill():
            trial.struck += 1
            trial.phases.append(at)
        deadline = time.monotonic() + 60
        while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.1)
        if any(alive(pid) for pid in workers):
            trial.wrong, trial.said = trial.wrong + 1, "WRONG: a worker outlived the audit by a minute"
        self.again(trial, folder)

    def killed_on_ray(self, trial: Trial, what: str) -> None:
        """Kill a worker, or the node it is on, of a Ray cluster of two nodes at a random time."""
        folder = self.fresh()
        delay = random.random() * self.seconds
        command = [sys.executable, __file__, "--on-ray", what, "--folder", folder, "--delay", str(delay)]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        struck = [line.removeprefix("struck ") for line in done.stdout.splitlines() if line.startswith("struck ")]
        trial.struck, trial.phases = len(struck), struck
        self.judge(trial, folder, (done.returncode, done.stderr), must="same")

    def spoilt(self, trial: Trial, pattern: str, change: Callable[[bytes], bytes]) -> None:
        """Change a file of a run that is under way; the audit must name it, and go on once its shard is deleted."""
        folder = self.fresh(copied=True)
        file = random.choice(sorted(folder.glob(pattern)))
        file.write_bytes(change(file.read_bytes()))
        trial.struck += 1
        self.judge(trial, folder, forked(lambda: audit(folder)).wait(), must="named")
        (folder / f"evidence-{file.stem.rpartition('-')[2]}.arrow").unlink()
        self.again(trial, folder)

    def full_disk(self, trial: Trial) -> None:
        """Audit onto a small file system that fills up; then onto the same one, made larger."""
        folder = self.fresh()
        room = 4 if trial.number == 0 else random.randrange(20, 120) if trial.number < 6 else random.randrange(100, 400)
        with mounted(folder, f"size={room}k"):
            result = forked(lambda: audit(folder)).wait()
            trial.struck += result[0] != 0
            trial.phases.append(phase(folder))
            self.judge(trial, folder, result)
            subprocess.run(["mount", "-o", "remount,size=100m", folder], check=True)
            self.again(trial, folder)

    def read_only(self, trial: Trial) -> None:
        """Audit onto a file system that cannot be written; then onto the same one, which can."""
        folder = self.fresh(copied=trial.number % 2 == 1)
        with mounted(folder, "size=100m", keep=folder.exists()):
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            trial.struck += 1
            self.judge(trial, folder, forked(lambda: audit(folder)).wait(), must="named")
            subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
            self.again(trial, folder)

    def clock_jump(self, trial: Trial) -> None:
        """Audit with a clock that jumps."""
        folder = self.fresh()
        trial.struck += 1
        self.judge(trial, folder, forked(lambda: audit(folder), jumping_clock).wait(), must="same")

    def other_model(self, trial: Trial) -> None:
        """Audit another model into a folder that has begun."""
        folder = self.fresh(copied=True)
        trial.struck += 1
        self.judge(trial, folder, forked(lambda: audit(folder, seed=5)).wait(), must="named")
        self.again(trial, folder)

    def swapped_model(self, trial: Trial) -> None:
        """Change the model's file after the audit began and before its workers load it."""
        folder, weights = self.fresh(), self.folder / f"swapped-{trial.number}.pt"
        torch.save(network(5).state_dict(), weights)
        trial.struck += 1
        sharing = Workers(count=2, source=FromFile(weights))
        self.judge(trial, folder, forked(lambda: audit(folder, workers=sharing)).wait(), must="named")
        self.again(trial, folder)

    def corrupt_model(self, trial: Trial) -> None:
        """Load weights that were cut off or overwritten."""
        weights = self.folder / "weights.pt"
        torch.save(eb.models.load("mlp,hidden=32", shape=(16,), classes=4).module.state_dict(), weights)
        content = bytearray(weights.read_bytes())
        place = random.randrange(len(content) - 64)
        content[place : place + 64] = bytes(64)
        weights.write_bytes(content if trial.number % 2 else content[: random.randrange(len(content))])
        trial.struck += 1
        load = lambda: eb.models.load(f"mlp@{weights},hidden=32", shape=(16,), classes=4)  # noqa: E731
        code, said = forked(load).wait()
        if code == 1:
            trial.named, trial.said = trial.named + 1, said.replace(str(self.folder), "DIR")
        else:
            trial.wrong, trial.said = trial.wrong + 1, f"WRONG (exit code {code}): {said[-1500:]}"

    def two_at_once(self, trial: Trial) -> None:
        """Audit into a folder while another process does."""
        folder = self.fresh()
        first = forked(lambda: audit(folder))
        while phase(folder) in ("start", "shard 1") and not first.ended():
            time.sleep(0.01)
        trial.struck += 1
        self.judge(trial, folder, forked(lambda: audit(folder)).wait(), must="named" if not first.ended() else "either")
        self.judge(trial, folder, first.wait(), must="same")


def on_ray(what: str, folder: Path, delay: float) -> None:
    """Audit on a Ray cluster of two nodes on this machine, in which something is killed while workers are at work."""
    cluster_of = import_module("ray.cluster_utils").Cluster
    cluster = cluster_of(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)

    def strike() -> None:
        while not (at_work := named("ray::_Worker.do")):
            time.sleep(0.01)
        time.sleep(delay)
        at = phase(folder)
        if what == "node":
            cluster.remove_node(second, allow_graceful=False)
        else:
            with suppress(ProcessLookupError):
                os.kill(random.choice(named("ray::_Worker") or at_work), signal.SIGKILL)
        print("struck", at, flush=True)

    threading.Thread(target=strike, daemon=True).start()
    try:
        audit(folder, workers=Workers(count=2, ray=cluster.address))
    finally:
        cluster.shutdown()


def named(title: str) -> list[int]:
    """Return the processes whose title begins so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_text().startswith(title):
                found.append(int(path.parent.name))
    return found


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid: int) -> list[int]:
    """Return the worker processes of a process: those of its children that are not the tracker of resources."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and "spawn_main" in (path.parent / "cmdline").read_text():
                found.append(int(path.parent.name))
    return sorted(found)


@contextmanager
def mounted(folder: Path, options: str, keep: bool = False) -> Iterator[None]:
    """Make a folder a file system of its own inside the block, with what it holds if asked."""
    folder.mkdir(exist_ok=True)
    before = folder.rename(folder.with_name("before")) if keep else None
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        if before is not None:
            shutil.copytree(before, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def jumping_clock() -> None:
    """Let the clock jump by an hour at every look, forth and back."""
    real, looks = time.time, [0]

    def jumping() -> float:
        looks[0] += 1
        return real() + (3600 if looks[0] % 2 else -3600)

    time.time = jumping


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def halved(content: bytes) -> bytes:
    return content[: random.randrange(len(content))]


def faults(campaign: Campaign) -> dict[str, tuple[int, Callable[[Trial], None]]]:
    """Return how often each fault is tried, and how; on Ray where it is installed."""
    on_cluster = {
        "kill -9 of a worker on a Ray cluster of two nodes": (2, lambda t: campaign.killed_on_ray(t, "worker")),
        "a node of a Ray cluster of two is killed": (2, lambda t: campaign.killed_on_ray(t, "node")),
    }
    return (on_cluster if find_spec("ray") else {}) | {
        "a bit of a finished shard changed": (3, lambda t: campaign.spoilt(t, "evidence-*", flipped)),
        "a bit of a ledger changed": (2, lambda t: campaign.spoilt(t, "ledger-*", flipped)),
        "a bit of a shard's witnesses changed": (3, lambda t: campaign.spoilt(t, "witnesses-*", flipped)),
        "a shard cut off": (2, lambda t: campaign.spoilt(t, "evidence-*", halved)),
        "witnesses cut off": (2, lambda t: campaign.spoilt(t, "witnesses-*", halved)),
        "a model file cut off, or with 64 bytes of zeros": (6, campaign.corrupt_model),
        "another model in a folder that has begun": (2, campaign.other_model),
        "a model file swapped before the workers read it": (2, campaign.swapped_model),
        "a full disk (a small file system); then room": (9, campaign.full_disk),
        "a read-only folder (file system), empty or begun; then writable": (4, campaign.read_only),
        "a clock that jumps by an hour at every look": (2, campaign.clock_jump),
        "two audits in one folder at once": (4, campaign.two_at_once),
        "kill -9 of the audit, up to 4 kills of a run; then again": (14, campaign.killed_audit),
        "kill -9 of a worker, twice per audit; then again": (9, campaign.killed_worker),
        "kill -9 of the process that has the workers; then again": (6, campaign.killed_driver),
    }


def report(trials: list[Trial], command: str) -> str:
    rows: dict[str, list[Trial]] = {}
    for trial in trials:
        rows.setdefault(trial.fault, []).append(trial)
    kills = [trial for trial in trials if trial.fault.startswith("kill -9")]
    where = [at for trial in kills for at in trial.phases]
    lines = [
        "# What faults do",
        "",
        f"`{command}` audits {SHARDS * SHARD} examples in {SHARDS} shards (PGD, certificates, branch and bound, limit,",
        "diagnosis) under one fault after another. A call ends with the same bytes as the run without a fault, or with",
        "an error that says what is wrong; anything else is lost or wrong. After the fault the audit is called again,",
        "as the error advises, and must end with the same bytes; that call counts too. File systems that are full or",
        "read-only are real ones (tmpfs); the clock is `time.time` of the process.",
        "",
        f"{date.today().isoformat()}: {len(trials)} trials, among them {sum(t.struck for t in kills)} kill -9; "
        f"{sum(t.wrong for t in trials)} lost or wrong.",
        "",
        "| fault | trials | struck | same bytes | refused in words | lost or wrong | what it says |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for fault, own in rows.items():
        said = next((trial.said for trial in own if trial.wrong), next((trial.said for trial in own if trial.said), ""))
        said = " ".join(said.replace("|", r"\|").replace("<", "&lt;").split())
        counts = [sum(getattr(trial, name) for trial in own) for name in ("struck", "same", "named", "wrong")]
        said = said if len(said) <= 260 else said[:260].rpartition(" ")[0] + " ..."
        lines.append(f"| {fault} | {len(own)} | {' | '.join(map(str, counts))} | {said} |")
    met = ", ".join(f"{at} {where.count(at)}" for at in PHASES if at in where)
    lines += ["", f"Where the audit was when it, its workers or their driver were killed: {met}."] if met else []
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no further trial begins")
    parser.add_argument("--state", type=Path, default=Path("runs/faults.jsonl"))
    parser.add_argument("--only", default="", help="a part of the name of the faults that are tried")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--on-ray", choices=("worker", "node"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--delay", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.on_ray is not None:
        on_ray(options.on_ray, options.folder, options.delay)
        return
    ends = time.monotonic() + 60 * options.minutes
    options.state.parent.mkdir(parents=True, exist_ok=True)
    lines = options.state.read_text().splitlines() if options.state.exists() else []
    trials = [Trial(**json.loads(line)) for line in lines]
    done = {(trial.fault, trial.number) for trial in trials}
    with tempfile.TemporaryDirectory() as name:
        campaign = Campaign(Path(name))
        print({at: round(length, 2) for at, length in campaign.lengths.items()}, flush=True)
        for fault, (count, work) in faults(campaign).items():
            for number in range(count):
                if (fault, number) in done or options.only not in fault or time.monotonic() > ends:
                    continue
                random.seed(f"{fault} {number}")
                trial = Trial(fault=fault, number=number)
                work(trial)
                trials.append(trial)
                with options.state.open("a") as file:
                    file.write(json.dumps(vars(trial)) + "\n")
                print(trial, flush=True)
    if options.out is not None:
        options.out.write_text(report(trials, "python benchmarks/faults.py"))
    if any(trial.wrong for trial in trials):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
