"""Checks of the evidence against itself, and against the ledger: what one number says and another denies."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from epsball.attacks.engine.ledger import NO_EXAMPLE, OVERHEAD
from epsball.auditing.folder import read_arrow
from epsball.auditing.verifying.record import UNREADABLE, Record
from epsball.auditing.verifying.result import Finding
from epsball.auditing.verifying.sentences import rows_that, several

if TYPE_CHECKING:
    import pyarrow


def columns(record: Record) -> Iterator[Finding]:
    """Check what the columns say of each example."""
    correct, broken, certified = (
        record.flag(name) for name in ("natural.correct", "attack.broken", "certificate.certified")
    )
    margin, attack = record.column("natural.margin"), record.column("attack.margin")
    checks = {
        "natural.correct is not margin > 0": correct != (np.nan_to_num(margin, nan=0.0) > 0),
        "natural.failed is not a missing margin": record.flag("natural.failed") != np.isnan(margin),
        "broken at a positive margin": correct & broken & ~(attack <= 0),
        "standing at a margin of an error": correct & ~broken & (attack <= 0),
        "the attack's margin is above the natural one": attack > margin,
        "certified is not stable and right": certified
        != (record.flag("certificate.stable") & (record.column("prediction") == record.column("label"))),
        "the verdict is not that of the columns": _verdicts(record) != record.column("verdict"),
        "the whole attack was spared without a certificate": _spared(record) & ~certified,
        "misclassified at a distance": ~correct & broken & (record.column("attack.distance") != 0),
        **_of_certificates(record),
    }
    index = record.column("index")
    wrong = [said for what, where in checks.items() for said in rows_that(what, where, index)]
    yield Finding(check="columns", holds=not wrong, detail=several(wrong) or "verdicts follow from the columns")


def _spared(record: Record) -> np.ndarray:
    """Return which examples got the short attack, and were not broken by points taken over from other runs."""
    whole = record.flag("attack.whole") | ("attack.whole" not in record.table.column_names)
    return ~whole & ~record.flag("taken.broken")


def _verdicts(record: Record) -> np.ndarray:
    """Return the verdicts that the columns give, in the order of `epsball.auditing.evidence`."""
    correct, failed = record.flag("natural.correct"), record.flag("natural.failed")
    verdict = np.full(len(correct), "undecided", dtype=object)
    verdict[[reason is not None for reason in record.table["invalid.reason"].to_pylist()]] = "invalid"
    verdict[record.flag("certificate.certified")] = "certified"
    verdict[record.broken] = "broken"
    verdict[~correct & ~failed] = "misclassified"
    return verdict


def _of_certificates(record: Record) -> dict[str, np.ndarray]:
    """Return what certificates say otherwise than the bounds they are made of: the largest one is the margin."""
    if "certificate.margin" not in record.table.column_names:
        return {}
    margin, stable = record.column("certificate.margin"), record.flag("certificate.stable")
    found = {"stable is not a certified margin > 0": stable != (np.nan_to_num(margin, nan=0.0) > 0)}
    names = [name for name in record.table.column_names if name.startswith("certificate.") and name.count(".") == 2]
    bounds = np.array([record.column(name) for name in names])
    bounds = np.where(np.isnan(bounds), -np.inf, bounds)
    largest = bounds.max(axis=0, initial=-np.inf) if names else np.full(len(margin), -np.inf)
    # A bound of the user's own has no column, nor has what was taken over from another run.
    own = (largest > -np.inf) & ~record.flag("taken.stable")
    found["the certified margin is not the largest bound"] = own & (margin != largest)
    by = record.column("certificate.method")
    for name in names:
        of_method = own & stable & (by == name.split(".")[1])
        found[f"the certificate is not by {name.split('.')[1]}"] = of_method & (record.column(name) != margin)
    semantics = record.identity.get("links", {}).get("certificate", {}).get("semantics")
    found[f"the semantics are not {semantics}"] = record.column("certificate.semantics") != semantics
    return found


def ledger(record: Record) -> Iterator[Finding]:
    """Check that the margins and passes of each example are those of the ledger."""
    try:
        wrong = list(_of_ledger(record))
    except UNREADABLE as error:
        wrong = [f"it cannot be read: {error}"]
    detail = several(wrong) or "margins and passes are those of the evidence"
    yield Finding(check="ledger", holds=not wrong, detail=detail)


def _of_ledger(record: Record) -> Iterator[str]:
    """Yield what ledger and evidence say differently of an example."""
    ledger, index = _read(record), record.column("index")
    place = {position: row for row, position in enumerate(index.tolist())}
    rows = np.array([place.get(position, -1) for position in ledger["index"].to_pylist()], dtype=np.int64)
    if ((rows < 0) & (ledger["index"].to_numpy() != NO_EXAMPLE)).any():
        yield "a row is of no example"
    names = np.array(ledger["attack"].to_pylist(), dtype=object)
    margin, own = ledger["margin"].to_numpy(), (rows >= 0) & ~np.isin(names, OVERHEAD)
    natural, attack = record.column("natural.margin"), record.column("attack.margin")
    judged = (rows >= 0) & (names == "natural")
    # A natural pass that was taken over from another run is in the ledger of that one.
    name, others = "taken.natural", np.zeros(len(index), dtype=bool)
    if name in record.table.column_names:
        others = record.table[name].is_valid().to_numpy()
    other = ~others & ~_among(natural, rows, margin, judged)
    yield from rows_that("the ledger has another natural margin", other, index)
    seen = _among(attack, rows, margin, rows >= 0) | (attack == natural)
    yield from rows_that("the ledger does not know the attack's margin", ~seen & ~np.isnan(attack), index)
    # The short attack before the certificates, and points taken over, are no passes of the attack's.
    exact = not {"certificate", "taken"} & set(record.identity.get("links", {}))
    for name in ("forwards", "backwards"):
        spent = np.bincount(rows[own], weights=ledger[name].to_numpy()[own], minlength=len(index))
        stated = record.column(f"attack.{name}")
        wrong = stated != spent if exact else (stated > spent) | (stated < 0)
        yield from rows_that(f"attack.{name} are not the ledger's", wrong, index)


def _read(record: Record) -> "pyarrow.Table":
    """Return the ledger of all shards."""
    import pyarrow

    files = sorted(record.folder.glob("evidence-*.arrow"))
    return pyarrow.concat_tables(
        [read_arrow(file.with_name(file.name.replace("evidence", "ledger"))) for file in files]
    )


def _among(values: np.ndarray, rows: np.ndarray, margins: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return which values are one of the margins of their row; a missing value is one of missing margins."""
    same = where & ((margins == values[rows]) | (np.isnan(margins) & np.isnan(values[rows])))
    return np.isin(np.arange(len(values)), rows[same])
