"""``epsball plan``."""

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from epsball.cli.common import Common, Data, Model, Output, Perturbation, Stochastic, bound_or, load_subject
from epsball.names import EffortName, MethodName, NoCertificates, Semantics

if TYPE_CHECKING:
    from epsball.auditing.planning import JobPlan


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """The audit that is planned.

    Parameters
    ----------
    effort
        The attack, where none is named, and the passes spent on certificates.
    attack
        An attack NAME[,option=value]..., or FILE.py:NAME; by default that of the effort.
    certificates
        Method of the certificates, as for certify, or none.
    semantics
        What the certificates claim.
    shard_size
        Examples that one worker does at a time; by default 1000.
    """

    effort: EffortName = "quick"
    attack: str | None = None
    certificates: Annotated[MethodName | NoCertificates | str, bound_or("none")] = "auto"
    semantics: Semantics = "float32"
    stochastic: Stochastic = False
    shard_size: int | None = None

    def words(self, model: str, data: str, ball: str) -> list[str]:
        """Return the audit's command."""
        words = ["epsball", "audit", model, data, "--ball", ball]
        for name, default in (
            ("effort", "quick"),
            ("attack", None),
            ("certificates", "auto"),
            ("semantics", "float32"),
        ):
            value = getattr(self, name)
            words += [] if value == default else [f"--{name}", value]
        words += [] if self.shard_size is None else ["--shard-size", str(self.shard_size)]
        return words + (["--stochastic"] if self.stochastic else [])


_OPTIONS, _COMMON = Options(), Common()


def plan(
    model: Model,
    data: Data,
    /,
    *,
    ball: Perturbation,
    options: Options = _OPTIONS,
    jobs: int = 8,
    sample: int = 32,
    out: str = "RUN",
    common: Common = _COMMON,
) -> Output:
    """Measure what an audit will take on a few of its examples, and print the commands that run it on many machines.

    Parameters
    ----------
    jobs
        Jobs of the array, processes of torchrun, or workers on Ray.
    sample
        Examples that are audited to measure passes and time.
    out
        Folder of the run in the commands.
    """
    from epsball import auditing

    subject = load_subject(model, data, ball, common, stochastic=options.stochastic)
    found = auditing.plan(
        subject.classifier,
        subject.dataset,
        subject.ball,
        effort=options.effort,
        attack=options.attack,
        certificates=options.certificates,
        semantics=options.semantics,
        seed=common.seed,
        sample=sample,
        shard_size=options.shard_size,
    )
    words = options.words(model, data, ball) + ([] if common.seed == 0 else ["--seed", str(common.seed)])
    commands = _commands(words, jobs, out, found)
    if common.json:
        return Output(json.dumps({**found.to_json(), "commands": commands}, indent=2))
    lines = [f"{name}:\n" + "\n".join(f"    {line}" for line in text) for name, text in commands.items()]
    return Output("\n".join([f"audit of {model} on {data}, {ball}", "", str(found), "", *lines]))


def _commands(words: list[str], jobs: int, out: str, found: "JobPlan") -> dict[str, list[str]]:
    """Return how the audit is run on one machine, by Slurm, torchrun and Ray."""
    audit, folder, jobs = shlex.join(words), shlex.quote(out), min(jobs, found.shards)
    gpu = found.device == "cuda"
    part = f"{audit} --out {folder}.$SLURM_ARRAY_TASK_ID --shard slurm"
    finish = f"epsball merge {folder}.[0-9]* --out {folder} && {audit} --out {folder}"
    return {
        "one machine": [f"{audit} --out {folder} --workers {jobs}"],
        "Slurm": [
            f"job=$(sbatch --parsable --array=1-{jobs}{' --gpus-per-task=1' if gpu else ''} --cpus-per-task=1 "
            f"--requeue --wrap {shlex.quote(part)})",
            f"sbatch --dependency=afterok:$job{' --gpus=1' if gpu else ''} --wrap {shlex.quote(finish)}",
        ],
        "torchrun, on a shared disk": [
            f"torchrun --nproc-per-node {jobs} --no-python {audit} --out {folder} --shard torchrun",
            f"{audit} --out {folder}",
        ],
        "Ray": [f"{audit} --out {folder} --ray auto --workers {jobs}{' --gpus 1' if gpu else ''}"],
    }
