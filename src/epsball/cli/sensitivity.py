"""``epsball sensitivity``."""

from epsball.cli.common import (
    Common,
    Data,
    Folder,
    Model,
    Output,
    Perturbation,
    Stochastic,
    finished_or_partial,
    load_subject,
    output,
)
from epsball.files import write_atomically, write_json

_COMMON = Common()


def sensitivity(
    model: Model,
    data: Data,
    /,
    *,
    ball: Perturbation,
    steps: int = 10,
    stochastic: Stochastic = False,
    out: Folder = None,
    common: Common = _COMMON,
) -> Output:
    """Show how accuracy under PGD changes with steps, step size, start, restarts and the geometry of steps.

    With --out, the table goes there as sensitivity.json and the figure as sensitivity.png.

    Parameters
    ----------
    steps
        K of the attack from which each setting differs in one option.
    """
    from epsball import attacks
    from epsball import data as datasets
    from epsball.figures import png

    subject = load_subject(model, data, ball, common, stochastic=stochastic)
    x, y = subject.dataset[:]
    result, code = finished_or_partial(
        lambda: attacks.sensitivity(
            subject.classifier,
            datasets.as_pixels(x),
            y,
            subject.ball,
            base=attacks.PGD(steps=steps),
            seed=common.seed,
        ),
        "fewer examples take less time",
    )
    notes: dict[str, str] = {}
    if out is not None:
        write_json(out / "sensitivity.json", result.to_json())
        write_atomically(out / "sensitivity.png", png(result.plot()))
        notes["written"] = str(out)
    heading = f"sensitivity of PGD on {model}, {len(subject.dataset)} examples of {data}, {subject.ball}"
    return output(result, common, heading=heading, notes=notes, code=code)
