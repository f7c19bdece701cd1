"""``epsball audit``."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from epsball.cli.balls import Balls, Radii, balls_of
from epsball.cli.common import (
    BatchSize,
    Common,
    Data,
    Model,
    Output,
    SearchPrecision,
    Stochastic,
    Subject,
    bound_or,
    finished_or_partial,
    load_model,
    load_subject,
    output,
    same_command,
)
from epsball.cli.sharing import Sharing, on_its_device
from epsball.files import write_atomically, write_json
from epsball.names import EffortName, Kept, MethodName, NoCertificates, Semantics

if TYPE_CHECKING:
    from epsball.models import LoadedModel
    from epsball.similarity import Similarity

_LOG = logging.getLogger(__name__)

REFERENCE_ROWS = 1000
"""Examples on which representations are compared with a reference."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and how thoroughly.

    Parameters
    ----------
    effort
        The attack, where none is named, and the passes spent on certificates.
    attack
        An attack NAME[,option=value]..., as in pgd,steps=100, or FILE.py:NAME; by default that of the effort.
    certificates
        Method of the certificates, as for certify, or none.
    semantics
        What the certificates claim: float32, the deployed network; real, the function of its weights.
    limit
        Measure the optimal adversarial risk of the examples, too.
    keep_certificates
        all: each certificate that can be replayed is a file in the folder; none: no files, and none is replayable.
    branching
        Passes per example for branch and bound on what is neither certified nor broken; 0 for none. By default those
        of the effort: none, 100,000 or 1,000,000.
    diagnosis
        Find out whether accuracy under attack can be trusted. By default where the attack is the effort's, or one
        as thorough.
    smooth
        Randomised smoothing too, as sigma=0.25 or sigma=0.25,samples=10000: of another classifier, the smoothed one;
        probabilistic, and no part of verdicts and chain.
    """

    # --budget is the old name, until 0.3.
    effort: Annotated[EffortName, Parameter(name=("--effort", "--budget"))] = "quick"
    attack: str | None = None
    precision: SearchPrecision = "float32"
    batch_size: BatchSize = None
    stochastic: Stochastic = False
    certificates: Annotated[MethodName | NoCertificates | str, bound_or("none")] = "auto"
    semantics: Semantics = "float32"
    keep_certificates: Kept = "all"
    limit: bool = True
    branching: int | None = None
    diagnosis: bool | None = None
    smooth: str | None = None


_OPTIONS, _COMMON, _SHARING = Options(), Common(), Sharing()


def audit(
    model: Model,
    data: Data,
    /,
    *,
    ball: Balls,
    radii: Radii | None = None,
    options: Options = _OPTIONS,
    reference: str | None = None,
    baseline: Path | None = None,
    out: Path | None = None,
    sharing: Sharing = _SHARING,
    shard: str | None = None,
    shard_size: int | None = None,
    report: bool = True,
    common: Common = _COMMON,
) -> Output:
    """Measure the chain of a classifier on a data set: natural accuracy, accuracy under attack, risks.

    With --out, evidence, ledger, witnesses and a page, report.html, are written there, shard by shard;
    the same command resumes after a kill. Within several balls (--ball twice, or --radii) one run each is made, in a
    folder of runs: they take over from each other what holds for both.

    Parameters
    ----------
    reference
        Another model: the similarity of the two models' representations is shown, too.
    baseline
        Folder of a run of another model on the same data: its witnesses are tried first, one forward pass each.
    out
        Folder of the run, or of the runs.
    shard
        K/N: audit every N-th shard only, from the K-th on; slurm or torchrun: K and N as they tell this process.
        epsball merge joins the folders.
    shard_size
        Examples that are audited and written as one piece, and that one worker does at a time; by default 1000.
    report
        Make the page of the run, report.html in its folder.
    """
    from epsball import auditing

    if shard == "torchrun":
        common = on_its_device(common, int(os.environ.get("LOCAL_RANK", "0")) + 1)
    balls = balls_of(ball, radii)
    subject = load_subject(model, data, str(balls[0]), common, stochastic=options.stochastic)
    other = None if reference is None else load_model(reference, subject.dataset, common)
    # Before the audit: a reference that cannot be compared is refused at once, not after hours.
    compared = None if other is None else _similarity(subject, other)
    result, code = finished_or_partial(
        lambda: auditing.audit(
            subject.classifier,
            subject.dataset,
            balls[0] if len(balls) == 1 else balls,
            effort=options.effort,
            attack=options.attack,
            precision=options.precision,
            batch_size=options.batch_size,
            seed=common.seed,
            certificates=options.certificates,
            semantics=options.semantics,
            keep_certificates=options.keep_certificates,
            limit=options.limit,
            diagnosis=options.diagnosis,
            branching=options.branching,
            baseline=baseline,
            smooth=options.smooth,
            folder=out,
            workers=sharing.workers_for(model, data, str(balls[0]), common, stochastic=options.stochastic),
            part=shard,
            shard_size=shard_size,
        ),
        f"without --out nothing is kept; with it a run goes on: {same_command('--out', 'FOLDER')}"
        if out is None
        else f"what is finished is kept in {out}; go on with: {same_command()}",
    )
    notes: dict[str, Any] = {} if out is None else {"evidence": str(out)}
    if other is not None and compared is not None:
        if out is not None:
            from epsball.figures import png

            names = model, other.text
            write_atomically(out / "similarity.csv", compared.to_csv().encode())
            write_json(out / "similarity.json", {"models": names, **compared.to_json()})
            write_atomically(out / "similarity.png", png(compared.plot(names)))
        text = f"with {other.text}, {compared.rows} examples\n{compared}"
        notes["similarity"] = compared.to_json() if common.json else text
    if out is not None and report and not result.interrupted:
        notes |= _page(out)
    if result.manifest is not None:
        notes["manifest"] = result.manifest
    heading = f"{model} on {len(subject.dataset)} examples of {data}, {', '.join(map(str, balls))}"
    return output(result, common, heading=heading, notes=notes, code=code)


def _page(out: Path) -> dict[str, str]:
    """Make the page of a run and say where it is; a run whose page fails is a run."""
    from epsball.report import page

    try:
        return {"page": str(page(out).write(out / "report.html"))}
    except Exception as error:
        _LOG.warning(
            "the page could not be made (%s: %s); the run is whole, and epsball report %s tries again",
            type(error).__name__,
            error,
            out,
        )
        return {}


def _similarity(subject: Subject, other: "LoadedModel") -> "Similarity":
    """Return the cross-similarity of the audited model and a reference."""
    from epsball import data as datasets
    from epsball.similarity import cka

    classifier = other.classifier(low=subject.ball.low, high=subject.ball.high)
    x, _ = subject.dataset[:REFERENCE_ROWS]
    return cka(subject.classifier, classifier, datasets.as_pixels(x))
