"""``epsball attack``."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from epsball.cli.common import (
    BatchSize,
    Common,
    Data,
    Model,
    Output,
    Perturbation,
    SearchPrecision,
    Stochastic,
    finished_or_partial,
    load_subject,
    output,
)
from epsball.cli.sharing import Sharing
from epsball.cli.sources import Sources
from epsball.errors import InputError
from epsball.files import write_atomically
from epsball.names import Stop

if TYPE_CHECKING:
    from torch import Tensor

    from epsball.attacks import AttackResult


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Search:
    """How to search.

    Parameters
    ----------
    method
        An attack NAME[,option=value]..., as in pgd,steps=100,restarts=5; epsball list attacks names them.
        FILE.py:NAME is one of your own.
    stop
        first: an example leaves at its first witness; never: the method runs to its end.
    budget
        Most passes per example; by default the method's own end.
    """

    method: str = "pgd"
    stop: Stop = "first"
    precision: SearchPrecision = "float32"
    budget: int | None = None
    batch_size: BatchSize = None
    stochastic: Stochastic = False


_SEARCH, _SOURCES, _COMMON, _SHARING = Search(), Sources(), Common(), Sharing()


def attack(
    model: Model,
    data: Data,
    /,
    *,
    ball: Perturbation,
    search: Search = _SEARCH,
    out: Path | None = None,
    sources: Sources = _SOURCES,
    sharing: Sharing = _SHARING,
    common: Common = _COMMON,
) -> Output:
    """Search each example's ball for a misclassified point, and verify what is found.

    Parameters
    ----------
    out
        A .safetensors file for the points, verdicts, margins and distances.
    """
    if out is not None and out.suffix != ".safetensors":
        raise InputError(f"--out is {out}; points are written as a .safetensors file.")

    from epsball import attacks
    from epsball import data as datasets

    subject = load_subject(model, data, ball, common, stochastic=search.stochastic)
    method = sources.method(search.method, subject, common)
    x, y = subject.dataset[:]
    result, code = finished_or_partial(
        lambda: attacks.attack(
            subject.classifier,
            datasets.as_pixels(x),
            y,
            subject.ball,
            method=method,
            seed=common.seed,
            stop=search.stop,
            precision=search.precision,
            budget=search.budget,
            batch_size=search.batch_size,
            workers=sharing.workers_for(model, data, ball, common, stochastic=search.stochastic),
        ),
        "an attack does not go on from there; an audit does: "
        + shlex.join(["epsball", "audit", model, data, "--ball", ball, "--attack", search.method, "--out", "FOLDER"]),
    )
    notes: dict[str, str] = {}
    if out is not None:
        notes["points"] = str(out)
        write_points(out, result, subject.dataset.positions)
    if sources.surrogate is not None:
        notes["searched on"] = sources.surrogate
    if isinstance(method, attacks.Collision):
        notes["collisions"] = str(method.meetings(datasets.as_pixels(x), y, subject.ball))
    heading = f"{search.method} on {model}, {len(subject.dataset)} examples of {data}, {subject.ball}"
    return output(result, common, heading=heading, notes=notes, code=code)


def write_points(out: Path, result: "AttackResult", positions: "Tensor") -> None:
    """Write points, verdicts, margins and distances, and the positions of the examples in their data."""
    from safetensors.torch import save

    names = ("x_adv", "broken", "margin", "nearest", "distance")
    points = {**{name: getattr(result, name) for name in names}, "index": positions}
    plain = {name: tensor.cpu().contiguous() for name, tensor in points.items()}
    write_atomically(out, save(plain, {"interrupted": str(result.interrupted).lower()}))
