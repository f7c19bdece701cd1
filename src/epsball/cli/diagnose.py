"""``epsball diagnose``."""

from dataclasses import dataclass

from cyclopts import Parameter

from epsball.cli.common import (
    Common,
    Data,
    Folder,
    Model,
    Output,
    Perturbation,
    Stochastic,
    load_model,
    load_subject,
    output,
)
from epsball.files import write_atomically, write_json


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is examined.

    Parameters
    ----------
    evaluation
        An attack NAME[,option=value]... whose power is measured in place of the ensemble's.
    surrogate
        A model whose adversarial points are tried on MODEL too.
    fewest
        Correct examples below which the verdict is at best suspect.
    """

    evaluation: str | None = None
    surrogate: str | None = None
    fewest: int = 50
    stochastic: Stochastic = False


_EXAMINATION, _COMMON = Examination(), Common()


def diagnose(
    model: Model,
    data: Data,
    /,
    *,
    ball: Perturbation,
    examination: Examination = _EXAMINATION,
    out: Folder = None,
    common: Common = _COMMON,
) -> Output:
    """Say whether a robustness number can be trusted: sound, suspect or masked, why, and what may be reported.

    With --out, the diagnosis goes there as diagnosis.json, and accuracy by attack as diagnosis.png.
    """
    from epsball import data as datasets
    from epsball import masking
    from epsball.figures import png

    subject = load_subject(model, data, ball, common, stochastic=examination.stochastic)
    surrogate = None
    if examination.surrogate is not None:
        loaded = load_model(examination.surrogate, subject.dataset, common)
        surrogate = loaded.classifier(low=subject.ball.low, high=subject.ball.high)
    x, y = subject.dataset[:]
    result = masking.diagnose(
        subject.classifier,
        datasets.as_pixels(x),
        y,
        subject.ball,
        evaluation=examination.evaluation,
        surrogate=surrogate,
        fewest=examination.fewest,
        seed=common.seed,
    )
    notes: dict[str, str] = {}
    if out is not None:
        write_json(out / "diagnosis.json", result.to_json())
        write_atomically(out / "diagnosis.png", png(result.plot()))
        notes["written"] = str(out)
    heading = f"diagnosis of {model}, {len(subject.dataset)} examples of {data}, {subject.ball}"
    return output(result, common, heading=heading, notes=notes)
