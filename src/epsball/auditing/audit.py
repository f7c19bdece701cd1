"""`audit`: the whole chain, per example, with evidence."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

from epsball import data as datasets
from epsball.attacks import Attack
from epsball.attacks.attack import check_subject
from epsball.attacks.engine.evaluator import Precision
from epsball.attacks.registry import resolve
from epsball.attacks.search import Options
from epsball.auditing.effort import SHARD, Effort, EffortName, effort_of
from epsball.auditing.folder import RunFolder
from epsball.auditing.links import AttackLink, CertificateLink, SmoothingLink
from epsball.auditing.result import Audit
from epsball.auditing.running import NO_CERTIFICATES, Part, Plan, Request, Shared, run
from epsball.auditing.series import AuditsByRadius, audit_balls, distinct
from epsball.auditing.sharing import Source
from epsball.auditing.subject import Subject
from epsball.ball import Ball
from epsball.certificates import ALIASES, AUTO, METHODS, LowerBounds, Method, MethodName, Semantics
from epsball.certificates.own_bound import own_bound
from epsball.checks import check_count
from epsball.classifier import Classifier
from epsball.errors import InputError, lookup
from epsball.interruption import carrying
from epsball.names import Kept, NoCertificates
from epsball.workers import Workers, as_workers


class AuditOptions(TypedDict, total=False):
    """The options of `audit`, for its two signatures."""

    effort: EffortName | None
    attack: str | Attack | None
    precision: Precision
    batch_size: int | None
    seed: int
    certificates: MethodName | NoCertificates | str | Method | Callable[..., LowerBounds]
    semantics: Semantics
    limit: bool
    diagnosis: bool | None
    branching: int | None
    baseline: str | Path | None
    smooth: str | SmoothingLink | None
    folder: str | Path | None
    workers: int | Workers | None
    part: str | None
    shard_size: int | None
    keep_certificates: Kept
    budget: EffortName | None


@overload
def audit(classifier: Classifier, data: object, ball: Ball, **options: Unpack[AuditOptions]) -> Audit: ...


@overload
def audit(
    classifier: Classifier, data: object, ball: Sequence[Ball], **options: Unpack[AuditOptions]
) -> AuditsByRadius: ...


def audit(
    classifier: Classifier,
    data: object,
    ball: Ball | Sequence[Ball],
    *,
    effort: EffortName | None = None,
    attack: str | Attack | None = None,
    precision: Precision = "float32",
    batch_size: int | None = None,
    seed: int = 0,
    certificates: MethodName | NoCertificates | str | Method | Callable[..., LowerBounds] = "auto",
    semantics: Semantics = "float32",
    limit: bool = True,
    diagnosis: bool | None = None,
    branching: int | None = None,
    baseline: str | Path | None = None,
    smooth: str | SmoothingLink | None = None,
    folder: str | Path | None = None,
    workers: int | Workers | None = None,
    part: str | None = None,
    shard_size: int | None = None,
    keep_certificates: Kept = "all",
    budget: EffortName | None = None,
) -> Audit | AuditsByRadius:
    """Measure the chain of a classifier on a data set, per example, with evidence.

    The data are read in shards, so that they need not fit into memory. With a folder each
    finished shard is on disk, witnesses stay there, and the same call with the same folder
    resumes after a kill or an interruption, which costs the batch in progress.

    Parameters
    ----------
    classifier
        The model under test.
    data
        A text, an (x, y) pair, or an object with ``len`` and slicing to (x, y).
    ball
        The perturbation set; its box lies within the classifier's. Of several, one run each is made, in an order in
        which they share most: witnesses within one ball are tried within the others, certificates of a ball hold in
        those inside it.
    effort
        ``"quick"`` (the default), ``"standard"`` or ``"full"``: the attack, where none is named, and the passes
        spent on certificates.
    attack
        An attack, or the text of one, instead of the effort's. Its per-example fields have
        one entry per example of the data.
    precision, batch_size
        As for `epsball.attack`.
    seed
        Seed of every draw.
    certificates, semantics
        Method and claim of `epsball.certify`, your own bounds too, or ``"none"``. With ``"auto"`` a network that
        cannot be captured or bounded is audited without certificates, and the chain says why.
    limit
        Whether the optimal adversarial risk of the examples is measured; that needs two classes
        and all examples in memory, and is left out above `LIMIT_BYTES` of them.
    diagnosis
        Whether it is found out if accuracy under attack can be trusted (`epsball.diagnose`); what is broken on the
        way lowers it. That takes at most half the attack's passes, or as many where something is suspicious. None:
        where the attack is the effort's, ``ensemble``, ``adaptive`` or ``autoattack``, and the folder does not
        hold a finished run without it; with another attack the ensemble is run too, so that is done on demand.
    branching
        Passes per example for branch and bound, the method ``"complete"``, on what neither the cascade certifies nor
        the attack breaks; 0 for none. None: those of the effort, which are none, 100,000 or 1,000,000, but none in a
        folder that a run without it began. It needs ``certificates="auto"``, and a piecewise linear network.
    baseline
        The folder of a finished run of another network on the same data within the same ball. Its witnesses, and the
        points where its attack came nearest on what it did not break, are tried first, one forward pass each.
    smooth
        Options of randomised smoothing, ``"sigma=0.25"`` or ``"sigma=0.25,samples=10000"`` (`epsball.smooth`): columns
        and a note about the smoothed classifier, another one; probabilistic, and no part of verdicts and chain.
    folder
        Where evidence, ledger, witnesses, chain and figure are written; of several balls one folder each in it.
    workers
        Processes that share the shards, each with one CPU thread; None: this process does them all. A script that
        uses workers makes its calls below ``if __name__ == "__main__":``.
    part
        ``"K/N"``: audit every N-th shard only, from the K-th on, into the folder; ``"slurm"`` and ``"torchrun"`` read
        K and N from the environment. `epsball.merge` joins the parts.
    shard_size
        Examples that are audited and written as one piece; by default 1,000. Part of what the run is.
    keep_certificates
        ``"all"``: each certificate that can be replayed is a file of the folder; ``"none"``: no file is written, and
        none counts as replayable.
    budget
        The old name of `effort`, until 0.3.

    Returns
    -------
    Audit, or AuditsByRadius where several balls are given

    Raises
    ------
    InputError, ModelError
        If data, ball, options or model break a rule, or the baseline is of other data or another ball.
    SoundnessError
        If an example is both broken and certified.
    WorkersError
        If shards were given up because every worker died at them; the others are done.
    KeyboardInterrupt
        If it is interrupted; its `partial` is the `Audit` of what is known until then, None where nothing is.

    Examples
    --------
    >>> import torch
    >>> import epsball as eb
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    >>> _ = network.load_state_dict({"1.weight": 3 * torch.eye(2), "1.bias": torch.zeros(2)})
    >>> x, y = torch.tensor([[0.9, 0.1], [0.5, 0.6], [0.4, 0.3]]), torch.tensor([0, 1, 1])
    >>> audit = eb.audit(eb.Classifier(network), (x, y), eb.Ball("linf", 0.1), attack="fgsm", limit=False)
    >>> audit.evidence["verdict"].to_pylist()
    ['certified', 'broken', 'misclassified']
    """
    check_count("shard_size", shard_size, unit="examples", optional=True)
    sharing, mine = as_workers(workers), None if part is None else Part.parse(part)
    if mine is not None and folder is None:
        raise InputError(f"part is {part}, but there is no folder; the parts of an audit are joined by their folders.")
    options: dict[str, Any] = {"effort": effort_of(effort, budget), "attack": attack, "precision": precision}
    options |= {"batch_size": batch_size, "seed": seed, "certificates": certificates, "semantics": semantics}
    options |= {"limit": limit, "diagnosis": diagnosis, "branching": branching, "baseline": baseline}
    options |= {"smooth": smooth, "shard_size": shard_size or SHARD}
    options |= {"keep": lookup({"all": True, "none": False}, keep_certificates, "keep_certificates:")}
    request = _request(**options)
    balls = (ball,) if isinstance(ball, Ball) else distinct(ball)
    for one in balls:
        check_subject(classifier, one)
    with carrying(lambda: None):
        dataset = datasets.load(data)
        before = classifier.passes.forward
        subject = Subject.of(classifier, dataset, balls[0], seed)
        guards = classifier.passes.forward - before
    where = None if folder is None else Path(folder)
    given = data if isinstance(data, str) else dataset
    shared = (
        None
        if sharing is None
        else Shared(planned=_planned, subject=(classifier, given, balls[0]), options=options, workers=sharing)
    )
    if not isinstance(ball, Ball):
        return audit_balls(request, subject, balls, where, guards, shared, mine)
    return run(request.plan(subject, where, guards), shared=shared, part=mine)


def _planned(
    classifier: Classifier,
    data: object,
    ball: Ball,
    *,
    folder: RunFolder | None,
    known: Sequence[Source],
    seed: int,
    **options: Any,
) -> Plan:
    """Return the plan that a worker makes for itself, with the guards it spent left out."""
    subject = Subject.of(classifier, datasets.load(data), ball, seed)
    return _request(seed=seed, **options).plan(subject, folder, 0, known)


def _request(
    *,
    effort: Effort,
    attack: str | Attack | None,
    precision: Precision,
    batch_size: int | None,
    seed: int,
    certificates: MethodName | NoCertificates | str | Method | Callable[..., LowerBounds],
    semantics: Semantics,
    limit: bool,
    diagnosis: bool | None,
    branching: int | None,
    baseline: str | Path | None,
    smooth: str | SmoothingLink | None,
    shard_size: int,
    keep: bool,
) -> Request:
    """Return what these arguments ask for, all of them checked."""
    proved_by = own_bound(certificates) or _registered(str(certificates))
    method = effort.attack if attack is None else resolve(attack)
    Options(method=method, seed=seed, precision=precision, batch_size=batch_size)
    if branching != 0:
        check_count("branching", branching, unit="passes per example", optional=True)
    if branching and proved_by != AUTO:
        raise InputError(f"branching is {branching} and certificates '{proved_by}'; branch and bound follows 'auto'.")
    return Request(
        proving=CertificateLink(method=proved_by, semantics=semantics, budget=effort.certificate_passes),
        attacking=AttackLink(method=method, precision=precision, batch_size=batch_size),
        limit=limit,
        diagnosis=diagnosis,
        branching=branching,
        effort=effort,
        shard=shard_size,
        baseline=None if baseline is None else Path(baseline),
        keep=keep,
        smooth=smooth,
    )


def _registered(certificates: str) -> str:
    """Return the stored name of a registered method, of the cascade, or of no certificates."""
    lookup(dict.fromkeys((NO_CERTIFICATES, AUTO, *METHODS, *ALIASES)), certificates, "certificates")
    return ALIASES.get(certificates, certificates)
