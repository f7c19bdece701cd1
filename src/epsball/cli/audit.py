"""``epsball audit``."""

from pathlib import Path

from epsball import auditing
from epsball.cli.common import Common, Output, load_subject, output
from epsball.cli.progress import showing_progress

_COMMON = Common()


def audit(
    model: str,
    data: str,
    /,
    *,
    ball: str,
    budget: str = "quick",
    attack: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
    stochastic: bool = False,
    out: Path | None = None,
    common: Common = _COMMON,
) -> Output:
    """Measure the chain of a classifier on a data set: natural accuracy, accuracy under attack, risks.

    With --out, evidence, ledger, witnesses and a picture are written there, shard by shard;
    the same command goes on after a kill.

    Parameters
    ----------
    model
        The model under test.
    data
        The data it is tested on.
    ball
        The perturbation set, NORM:RADIUS.
    budget
        quick, standard or full: the attack, where none is named.
    attack
        An attack NAME[,option=value]..., as in pgd,steps=100,restarts=5.
    precision
        Of the search, float32 or bf16; verdicts are always given in float32.
    batch_size
        Examples searched together.
    stochastic
        The model draws random numbers; it is judged over repetitions.
    out
        Folder of the run.
    """
    subject = load_subject(model, data, ball, common, stochastic=stochastic)
    with showing_progress():
        result = auditing.audit(
            subject.classifier,
            subject.dataset,
            subject.ball,
            budget=budget,
            attack=attack,
            precision=precision,
            batch_size=batch_size,
            seed=common.seed,
            folder=out,
        )
    notes = {} if out is None else {"evidence": str(out)}
    heading = f"{model} on {len(subject.dataset)} examples of {data}, {subject.ball}"
    return output(result, common, heading=heading, notes=notes)
