"""``epsball certify``."""

import shlex
from typing import Annotated

from epsball.cli.common import (
    Common,
    Data,
    Folder,
    Model,
    Output,
    Perturbation,
    bound_or,
    finished_or_partial,
    load_subject,
    output,
)
from epsball.cli.sharing import Sharing
from epsball.errors import InputError
from epsball.files import write_atomically, write_json
from epsball.names import MethodName, Semantics

_COMMON, _SHARING = Common(), Sharing()


def certify(
    model: Model,
    data: Data,
    /,
    *,
    ball: Perturbation,
    method: Annotated[MethodName | str, bound_or()] = "auto",
    semantics: Semantics = "float32",
    budget: int | None = None,
    cpu_seconds: float | None = None,
    max_memory: int | None = None,
    logits: int | None = None,
    out: Folder = None,
    sharing: Sharing = _SHARING,
    common: Common = _COMMON,
) -> Output:
    """Prove, example by example, that no point of the ball is given another class.

    With --out, the bounds go there as certificates.json, certificates.arrow and certificates.png,
    and each certificate as a file that epsball replay checks.

    Parameters
    ----------
    method
        The bound; auto runs those that fit in the order of their cost, on what is not certified yet. epsball list
        methods names them; FILE.py:NAME[,option=value]... is one of your own.
    semantics
        float32: the claim is about the deployed network; real: about the function of its weights.
    budget
        Most passes per example; by default no limit.
    cpu_seconds
        Most CPU seconds of the search of the method complete, per example.
    max_memory
        Bytes that the rows of backward bounds may take at a time.
    logits
        Instead of certificates, the bounds [f_min, f_max] of every logit of one example, by its place in the data,
        under every method (or the one of --method); methods are begun until --cpu-seconds, by default 20, are spent.
    """
    from epsball import certificates
    from epsball import data as datasets
    from epsball.figures import png
    from epsball.results import arrow_bytes

    subject = load_subject(model, data, ball, common, stochastic=False)
    x, y = subject.dataset[:]
    if logits is not None:
        if not 0 <= logits < len(y):
            raise InputError(f"--logits is {logits}; the data have {len(y)} examples: give 0 to {len(y) - 1}.")
        limits = {"cpu_seconds": 20.0 if cpu_seconds is None else cpu_seconds, "max_memory": max_memory}
        found = certificates.logit_bounds(
            *(subject.classifier, datasets.as_pixels(x[logits : logits + 1]), subject.ball),
            **{"method": method, "semantics": semantics, **limits},
        )
        return output(found, common, heading=f"example {logits} of {data} on {model}, {subject.ball}", notes={})
    result, code = finished_or_partial(
        lambda: certificates.certify(
            subject.classifier,
            datasets.as_pixels(x),
            y,
            subject.ball,
            method=method,
            semantics=semantics,
            budget=budget,
            cpu_seconds=cpu_seconds,
            max_memory=max_memory,
            folder=out,
            workers=sharing.workers_for(model, data, ball, common),
        ),
        "certify does not go on from there; an audit does: "
        + shlex.join(["epsball", "audit", model, data, "--ball", ball, "--certificates", method, "--out", "FOLDER"]),
    )
    notes: dict[str, str] = {}
    if out is not None:
        write_json(out / "certificates.json", result.to_json())
        write_atomically(out / "certificates.arrow", arrow_bytes(result.to_arrow()))
        write_atomically(out / "certificates.png", png(result.plot()))
        notes["written"] = f"{out}, {len(result.files)} certificates"
    heading = f"{method} on {model}, {len(subject.dataset)} examples of {data}, {subject.ball}"
    return output(result, common, heading=heading, notes=notes, code=code)
