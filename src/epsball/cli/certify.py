"""``epsball certify``."""

from pathlib import Path
from typing import Literal

from epsball import certificates
from epsball import data as datasets
from epsball.cli.common import Common, Output, Perturbation, finished_or_partial, load_subject, output, png
from epsball.files import write_atomically, write_json
from epsball.results import arrow_bytes

_COMMON = Common()


def certify(
    model: str,
    data: str,
    /,
    *,
    ball: Perturbation,
    method: str = "auto",
    semantics: Literal["float32", "real"] = "float32",
    budget: int | None = None,
    max_memory: int | None = None,
    out: Path | None = None,
    common: Common = _COMMON,
) -> Output:
    """Prove, example by example, that no point of the ball is given another class.

    With --out, the bounds go there as certificates.json, certificates.arrow and certificates.png,
    and each certificate as a file that epsball replay checks.

    Parameters
    ----------
    model
        The model to certify.
    data
        The data it is certified on.
    method
        interval, lipschitz, crown-ibp, forward, crown or optimised; auto runs them in the order of their cost;
        FILE.py:NAME[,option=value]... is one of your own.
    semantics
        float32: the claim is about the deployed network; real: about the function of its weights.
    budget
        Most passes per example.
    max_memory
        Bytes that the rows of backward bounds may take at a time.
    out
        Folder of the results.
    """
    subject = load_subject(model, data, ball, common, stochastic=False)
    x, y = subject.dataset[:]
    result, code = finished_or_partial(
        lambda: certificates.certify(
            subject.classifier,
            datasets.as_pixels(x),
            y,
            subject.ball,
            method=method,  # pyright: ignore[reportArgumentType]
            semantics=semantics,
            budget=budget,
            max_memory=max_memory,
            folder=out,
        ),
        "certify does not go on from there; an audit with --out does",
    )
    notes: dict[str, str] = {}
    if out is not None:
        write_json(out / "certificates.json", result.to_json())
        write_atomically(out / "certificates.arrow", arrow_bytes(result.to_arrow()))
        write_atomically(out / "certificates.png", png(result.plot()))
        notes["written"] = f"{out}, {len(result.files)} certificates"
    heading = f"{method} on {model}, {len(subject.dataset)} examples of {data}, {subject.ball}"
    return output(result, common, heading=heading, notes=notes, code=code)
