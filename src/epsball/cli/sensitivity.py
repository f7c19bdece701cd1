"""``epsball sensitivity``."""

from pathlib import Path

from epsball import data as datasets
from epsball.attacks import PGD
from epsball.attacks import sensitivity as sweep
from epsball.cli.common import INTERRUPTED, Common, Output, load_subject, output, png
from epsball.cli.progress import showing_progress
from epsball.files import write_atomically, write_json

_COMMON = Common()


def sensitivity(
    model: str,
    data: str,
    /,
    *,
    ball: str,
    steps: int = 10,
    stochastic: bool = False,
    out: Path | None = None,
    common: Common = _COMMON,
) -> Output:
    """Show how accuracy under PGD changes with steps, step size, start, restarts and the geometry of steps.

    With --out, the table goes there as sensitivity.json and the figure as sensitivity.png.

    Parameters
    ----------
    model
        The model under test.
    data
        The data it is tested on.
    ball
        The perturbation set, NORM:RADIUS.
    steps
        K of the attack from which each setting differs in one option.
    stochastic
        The model draws random numbers; it is judged over repetitions.
    out
        Folder of the results.
    """
    subject = load_subject(model, data, ball, common, stochastic=stochastic)
    x, y = subject.dataset[:]
    with showing_progress():
        result = sweep(
            subject.classifier,
            datasets.as_pixels(x),
            y,
            subject.ball,
            base=PGD(steps=steps),
            seed=common.seed,
        )
    notes: dict[str, str] = {}
    if out is not None:
        write_json(out / "sensitivity.json", result.to_json())
        write_atomically(out / "sensitivity.png", png(result.plot()))
        notes["written"] = str(out)
    heading = f"sensitivity of PGD on {model}, {len(subject.dataset)} examples of {data}, {subject.ball}"
    return output(result, common, heading=heading, notes=notes, code=INTERRUPTED if result.interrupted else 0)
