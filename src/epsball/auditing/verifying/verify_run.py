"""`verify_run`: whether a finished audit holds, checked again from its folder."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from epsball import data as datasets
from epsball.auditing.manifest import RUNS, hash_of, runs_of
from epsball.auditing.subject import Subject
from epsball.auditing.verifying import contents, deployed
from epsball.auditing.verifying.certificates import certificates
from epsball.auditing.verifying.limit import limit
from epsball.auditing.verifying.record import Record
from epsball.auditing.verifying.result import Finding, RunVerification
from epsball.auditing.verifying.taken import taken_over
from epsball.certificates import REAL, Verifier
from epsball.classifier import Classifier
from epsball.errors import EpsballError, InputError

NEED_BOTH = ("model", "data", "natural pass", "witnesses")


def verify_run(
    folder: str | Path,
    classifier: Classifier | None = None,
    data: object = None,
    *,
    manifest: str | None = None,
    runtime: Callable[[Tensor], Tensor] | None = None,
) -> RunVerification:
    """Check a finished audit again: its files, its evidence, its chain, its witnesses and its certificates.

    Without the model and the data: that no file was changed, removed or added; that the evidence is complete, and the
    verdicts and the chain follow from it; that every broken example has a witness in its ball; that the independent
    checker accepts every certificate. With them also: that they are those of the run, and that natural pass and
    witnesses are what the deployed model says, to the last bit of each margin where the build is the same; and that
    the optimal risk is that of the data.

    Parameters
    ----------
    folder
        The run, or a folder of runs within several balls.
    classifier, data
        The model that was audited and its data, as `epsball.audit` took them; both or neither.
    manifest
        The hash that the audit printed: with it a folder that was made up anew is found.
    runtime
        Another runtime of the model, from points to logits, by which witnesses are judged too.

    Raises
    ------
    InputError
        If the folder holds no finished run, or one of a later schema.

    Examples
    --------
    >>> import tempfile, torch, epsball as eb
    >>> x, y, folder = torch.rand(8, 2), torch.arange(8) % 2, tempfile.mkdtemp()
    >>> classifier, ball = eb.Classifier(torch.nn.Linear(2, 2)), eb.Ball("linf", 0.1)
    >>> audit = eb.audit(classifier, (x, y), ball, attack="fgsm", limit=False, folder=folder)
    >>> eb.verify_run(folder, classifier, (x, y), manifest=audit.manifest).holds
    True
    """
    if (classifier is None) != (data is None):
        raise InputError("the model was given without the data, or the data without the model; give both or neither.")
    several = runs_of(folder)
    if several is None:
        record = Record.read(folder)
        found = tuple(_findings(record, classifier, data, manifest, runtime))
        return RunVerification(folder=record.folder, findings=found)
    findings = list(_of_folder(Path(folder), several, manifest))
    for name, known in several.items():
        if (Path(folder) / name / "run.json").exists():
            own = _findings(Record.read(Path(folder) / name), classifier, data, known, runtime)
            findings += [replace(finding, check=f"{name}: {finding.check}") for finding in own]
    return RunVerification(folder=Path(folder), findings=tuple(findings))


def _of_folder(folder: Path, runs: Mapping[str, str | None], manifest: str | None) -> Iterator[Finding]:
    """Check the file that names the runs of a folder, and that each is there and no other."""
    if manifest is not None:
        found = hash_of(folder / RUNS)
        same = found == manifest or found.removeprefix("sha256:") == manifest
        yield Finding(check="manifest", holds=same, detail=found if same else f"{found}, not {manifest}")
    present = {file.parent.name for file in folder.glob("*/run.json")}
    wrong = [f"{name} is missing" for name in runs if name not in present]
    wrong += [f"{name} is not in {RUNS}" for name in sorted(present - set(runs))]
    yield Finding(check="runs", holds=not wrong, detail="; ".join(wrong) or f"{len(runs)} runs")


def _findings(
    record: Record,
    classifier: Classifier | None,
    data: object,
    manifest: str | None,
    runtime: Callable[[Tensor], Tensor] | None,
) -> Iterator[Finding]:
    yield from contents.files(record, manifest)
    read = list(contents.evidence(record))
    yield from read
    if any(finding.check == "evidence" and finding.holds is False for finding in read):
        return
    yield from contents.witnesses(record)
    yield from taken_over(record)
    if classifier is None:
        for check in NEED_BOTH:
            yield Finding(check=check, holds=None, detail="needs the model and the data")
        yield from certificates(record, None, None)
        return
    dataset = datasets.load(data)
    same = list(deployed.subject(record, classifier, dataset))
    yield from same
    if not all(finding.holds for finding in same):
        for check in NEED_BOTH[2:]:
            yield Finding(check=check, holds=None, detail="the model or the data are not those of the run")
        return
    about = Subject.of(classifier, dataset, record.ball, int(record.identity["seed"]))
    exact = deployed.same_build(record, about)
    yield from deployed.natural(record, classifier, dataset, exact=exact)
    yield from deployed.witnesses(record, classifier, dataset, runtime, exact=exact)
    yield from limit(record, about)
    yield from certificates(record, dataset, _verifier(record, classifier, tuple(dataset.shape)))


def _verifier(record: Record, classifier: Classifier, shape: tuple[int, ...]) -> Verifier | None:
    """Return the captured network, which certificates must be about; None without certificates, or if it has none."""
    if not record.flag("certificate.certified").any():
        return None
    try:
        return Verifier.of(classifier, shape, REAL)
    except EpsballError:
        return None
