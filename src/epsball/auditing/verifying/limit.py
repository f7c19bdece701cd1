"""The check of the optimal risk, which follows from the data alone: computed again, once the data are given."""

from collections.abc import Iterator
from typing import Any

from epsball.auditing.chain import LIMIT
from epsball.auditing.evidence import with_columns
from epsball.auditing.folder import read_arrow
from epsball.auditing.links import DiagnosisLink, LimitLink
from epsball.auditing.subject import Subject
from epsball.auditing.verifying.record import UNREADABLE, Record
from epsball.auditing.verifying.result import Finding
from epsball.auditing.verifying.sentences import close, several
from epsball.results import jsonable

CHECK = "optimal risk"


def limit(record: Record, subject: Subject) -> Iterator[Finding]:
    """Compute the optimal risk of the examples again; nothing where the run has none."""
    stated, file = record.chain.get("places", {}).get(LIMIT), record.folder / "limit.arrow"
    if stated is None and not file.exists():
        return
    try:
        wrong = list(_of_limit(record, subject, stated))
    except UNREADABLE as error:
        wrong = [f"it cannot be read: {error}"]
    yield Finding(check=CHECK, holds=not wrong, detail=several(wrong) or f"{LIMIT} computed again from the data")


def _of_limit(record: Record, subject: Subject, stated: dict[str, Any] | None) -> Iterator[str]:
    """Yield what the run says otherwise of its examples' optimal risk."""
    table, late = record.table, record.folder / "diagnosis.arrow"
    if late.exists():
        columns = {name: read_arrow(late)[name].to_pylist() for name in DiagnosisLink.run_schema}
        table = with_columns(table, columns, DiagnosisLink.run_schema)
    found = LimitLink().on_run(subject, table)
    if LIMIT not in found.bounds or stated is None:
        yield f"{LIMIT} is stated of a run that has none, or is missing"
        return
    yield from _unlike(LIMIT, stated, jsonable(found.bounds[LIMIT]))
    hard = read_arrow(record.folder / "limit.arrow")["limit.hard"].to_pylist()
    if hard != list(found.columns["limit.hard"]):
        yield "other examples must be given up"
    yield from _unlike("the cross-entropy", record.chain.get("cross-entropy"), jsonable(found.chain["cross_entropy"]))


def _unlike(what: str, stated: Any, found: Any) -> Iterator[str]:
    """Yield what is stated of something, where it is not what was found."""
    if isinstance(stated, dict) and isinstance(found, dict) and stated.keys() == found.keys():
        for name, value in found.items():
            yield from _unlike(f"{what}: {name}", stated[name], value)
    elif not (close(stated, found) if isinstance(found, float) else stated == found):
        yield f"{what} is {found}, not {stated}"
