"""``epsball gate``."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from epsball.cli.common import Common, Data, Model, Output, Perturbation, load_subject
from epsball.cli.sharing import Sharing
from epsball.files import write_atomically
from epsball.names import EffortName

_COMMON, _SHARING = Common(), Sharing()
_FAILED, _CANNOT_TELL = 10, 11
_Report = Annotated[Path | None, Parameter(help="File of the report.")]


def gate(
    model: Model,
    data: Data,
    /,
    *,
    ball: Perturbation,
    min_robust: str | None = None,
    min_certified: str | None = None,
    min_under_attack: str | None = None,
    alpha: float = 0.05,
    effort: EffortName = "quick",
    on_undecided: Literal["fail", "pass"] = "fail",
    junit: _Report = None,
    summary: _Report = None,
    sharing: Sharing = _SHARING,
    common: Common = _COMMON,
) -> Output:
    """Decide whether a model is robust enough: for CI. Exit code 0: pass, 10: fail.

    Examples are audited in a random order until the answer is sure enough, at most all of them; what cannot be told at
    this effort fails too (exit code 10, saying so) unless --on-undecided pass is given.

    Parameters
    ----------
    min_robust
        Least share of robust examples: passes only by certificates, fails only by witnesses.
    min_certified
        Least share of right and certified examples.
    min_under_attack
        Least share of right and unbroken examples; never passes where gradients are masked.
    alpha
        Probability, at most, of passing wrongly, and of failing wrongly.
    effort
        What is spent per example.
    on_undecided
        What an answer that cannot be given counts as.
    junit
        File of a JUnit XML report.
    summary
        File of a summary in Markdown.
    """
    from epsball.auditing import gate as run

    subject = load_subject(model, data, ball, common, stochastic=False)
    result = run(
        subject.classifier,
        subject.dataset,
        subject.ball,
        min_robust=min_robust,
        min_certified=min_certified,
        min_under_attack=min_under_attack,
        alpha=alpha,
        effort=effort,
        seed=common.seed,
        workers=sharing.workers_for(model, data, ball, common),
    )
    for file, text in ((junit, result.to_junit), (summary, result.to_markdown)):
        if file is not None:
            write_atomically(file, text().encode())
    code, lines = result.exit_code, [str(result)]
    if code == _CANNOT_TELL:
        code = 0 if on_undecided == "pass" else _FAILED
        lines.append(f"what cannot be told counts as {on_undecided} (--on-undecided)")
    return Output(json.dumps(result.to_json(), indent=2, allow_nan=False) if common.json else "\n".join(lines), code)
