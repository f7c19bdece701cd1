"""``epsball attack``."""

from pathlib import Path
from typing import Literal

from safetensors.torch import save
from torch import Tensor

from epsball import attacks
from epsball import data as datasets
from epsball.cli.common import INTERRUPTED, Common, Output, load_subject, output
from epsball.cli.progress import showing_progress
from epsball.cli.sources import Sources
from epsball.errors import InputError
from epsball.files import write_atomically

_COMMON, _SOURCES = Common(), Sources()


def attack(
    model: str,
    data: str,
    /,
    *,
    ball: str,
    method: str = "pgd",
    stop: Literal["first", "never"] = "first",
    precision: str = "float32",
    budget: int | None = None,
    batch_size: int | None = None,
    stochastic: bool = False,
    out: Path | None = None,
    sources: Sources = _SOURCES,
    common: Common = _COMMON,
) -> Output:
    """Search each example's ball for a misclassified point, and verify what is found.

    Parameters
    ----------
    model
        The model under test.
    data
        The data it is tested on.
    ball
        The perturbation set, NORM:RADIUS.
    method
        An attack NAME[,option=value]..., as in pgd,steps=100,restarts=5.
    stop
        first: an example leaves at its first witness; never: the method runs to its end.
    precision
        Of the search, float32 or bf16; verdicts are always given in float32.
    budget
        Most passes an example may cost.
    batch_size
        Examples searched together.
    stochastic
        The model draws random numbers; it is judged over repetitions.
    out
        A .safetensors file for the points, verdicts, margins and distances.
    """
    if out is not None and out.suffix != ".safetensors":
        raise InputError(f"--out is {out}; points are written as a .safetensors file.")
    subject = load_subject(model, data, ball, common, stochastic=stochastic)
    named = sources.method(method, subject, common)
    x, y = subject.dataset[:]
    with showing_progress():
        result = attacks.attack(
            subject.classifier,
            datasets.as_pixels(x),
            y,
            subject.ball,
            method=named,
            seed=common.seed,
            stop=stop,
            precision=precision,
            budget=budget,
            batch_size=batch_size,
        )
    notes: dict[str, str] = {}
    if out is not None:
        notes["points"] = str(out)
        write_points(out, result, subject.dataset.positions)
    if sources.surrogate is not None:
        notes["searched on"] = sources.surrogate
    if isinstance(named, attacks.Collision):
        notes["collisions"] = str(named.meetings(datasets.as_pixels(x), y, subject.ball))
    heading = f"{method} on {model}, {len(subject.dataset)} examples of {data}, {subject.ball}"
    return output(result, common, heading=heading, notes=notes, code=INTERRUPTED if result.interrupted else 0)


def write_points(out: Path, result: attacks.AttackResult, positions: Tensor) -> None:
    """Write points, verdicts, margins and distances, and where the examples stand in their data."""
    names = ("x_adv", "broken", "margin", "nearest", "distance")
    points = {**{name: getattr(result, name) for name in names}, "index": positions}
    write_atomically(out, save({name: tensor.cpu().contiguous() for name, tensor in points.items()}))
