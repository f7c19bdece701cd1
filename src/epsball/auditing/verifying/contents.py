"""Checks of a run folder that need neither the model nor the data."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

from epsball.auditing import manifest as manifests
from epsball.auditing.chain import ATTACK, CERTIFIED, NATURAL
from epsball.auditing.evidence import Witnesses
from epsball.auditing.verifying.columns import columns, ledger
from epsball.auditing.verifying.record import UNREADABLE, Record
from epsball.auditing.verifying.result import Finding
from epsball.auditing.verifying.sentences import close, rows_that, several
from epsball.errors import InputError
from epsball.risk import decompose
from epsball.statistics import clopper_pearson

_ROUNDED = 1 + 1e-5
"""How far the distance of a witness may be rounded."""


def files(record: Record, wanted: str | None) -> Iterator[Finding]:
    """Check the hash of every file of the run, and that none was added."""
    folder, manifest = record.folder, manifests.read_manifest(record.folder)
    if manifest is None:
        if wanted is not None or record.run.get("schema", 1) > 1:
            yield Finding(check="files", holds=False, detail=f"{manifests.NAME} is missing")
        else:
            yield Finding(check="files", holds=None, detail="the run is older than manifests")
        return
    found = manifests.hash_of(folder / manifests.NAME)
    if wanted is not None:
        same = found == wanted or found.removeprefix("sha256:") == wanted
        yield Finding(check="manifest", holds=same, detail=found if same else f"{found}, not {wanted}")
    listed = manifest["files"]
    present = set(manifests.run_files(folder))
    wrong = [f"{name} is missing" for name in listed if name not in present]
    wrong += [f"{name} is not in the manifest" for name in sorted(present - set(listed))]
    changed = [name for name in listed if name in present and manifests.hash_of(folder / name) != listed[name]]
    wrong += [f"{name} was changed" for name in changed]
    yield Finding(check="files", holds=not wrong, detail=several(wrong) or f"{len(listed)} files, {found}")


def evidence(record: Record) -> Iterator[Finding]:
    """Check that the evidence is complete and says one thing about each example."""
    try:
        yield from _evidence(record)
    except UNREADABLE as error:
        yield Finding(check="evidence", holds=False, detail=f"cannot be read: {error}")


def _evidence(record: Record) -> Iterator[Finding]:
    index = record.column("index")
    total, n = record.chain.get("total"), len(index)
    wrong = [] if n == total else [f"{n} rows, but the chain is about {total} examples"]
    wrong += [] if len(np.unique(index)) == n else ["a position stands twice"]
    shards = [file.name for file in sorted(record.folder.glob("evidence-*.arrow"))]
    wrong += [] if shards == [f"evidence-{k:05d}.arrow" for k in range(len(shards))] else ["a shard is missing"]
    yield Finding(check="evidence", holds=not wrong, detail=several(wrong) or f"{n} examples")
    correct, failed = record.flag("natural.correct"), record.flag("natural.failed")
    broken, certified = record.broken, record.flag("certificate.certified")
    real = record.column("certificate.semantics")
    both = broken & certified & (real != "real" if len(real) else True)
    if both.any():
        detail = several(rows_that("broken and certified", both, index))
        yield Finding(check="verdicts", holds=False, detail=detail, contradiction=True)
    yield from columns(record)
    yield from ledger(record)
    yield from _chain(record, correct & ~failed, broken, certified, failed)


def _chain(
    record: Record, correct: np.ndarray, broken: np.ndarray, certified: np.ndarray, failed: np.ndarray
) -> Iterator[Finding]:
    """Recompute the places of the chain that follow from the evidence, and the risk decomposition."""
    n, places = len(correct), record.chain.get("places", {})
    standing = {NATURAL: correct | failed, ATTACK: (correct & ~broken) | failed, CERTIFIED: certified}
    wrong = []
    for name, column in standing.items():
        if name not in places:
            continue
        value, stated = int(column.sum()) / n, places[name]
        if not close(stated["value"], value):
            wrong.append(f"{name} is {value:.6g}, not {stated['value']}")
        # Of natural accuracy the lower end leaves out what gave no verdict; a witness may exist for the others.
        least = column & ~failed if name == NATURAL else column
        ends = clopper_pearson(int(least.sum()), n).low, clopper_pearson(int(column.sum()), n).high
        if not all(close(stated["interval"][end], value) for end, value in zip(("low", "high"), ends, strict=True)):
            wrong.append(f"the interval of {name} is {ends}, not {stated['interval']}")
    risks = decompose(_tensor(correct), _tensor(broken & correct), _tensor(certified & ~broken), _tensor(failed))
    stated = record.chain.get("risk", {})
    for name in ("natural", "boundary", "robust"):
        for end in ("low", "high"):
            value = getattr(getattr(risks, name), end)
            if not close(stated.get(name, {}).get(end), value):
                wrong.append(f"{name} risk ({end}) is {value:.6g}, not {stated.get(name, {}).get(end)}")
    wrong += _missing_diagnosis(record)
    counts = dict(Counter(record.table["verdict"].to_pylist()))
    wrong += [] if record.chain.get("verdicts") == counts else [f"the verdicts are {counts}"]
    yield Finding(check="chain", holds=not wrong, detail=several(wrong) or "follows from the evidence")


def _missing_diagnosis(record: Record) -> list[str]:
    """Return which files of the diagnosis that the chain tells of are missing."""
    if record.chain.get("diagnosis") is None:
        return []
    names = ("diagnosis.json", "diagnosis.arrow")
    return [f"{name} is missing" for name in names if not (record.folder / name).exists()]


def witnesses(record: Record) -> Iterator[Finding]:
    """Check that each broken example has a witness in its ball, and no other one has."""
    try:
        known = list(record.witnesses())
        index = torch.cat([part.index for part in known]) if known else torch.zeros(0, dtype=torch.int64)
        rows, broken = record.rows_of(index), torch.from_numpy(record.broken)
        expected = torch.nonzero(broken)[:, 0]
        wrong = [] if torch.equal(rows.sort().values, expected) else [_missing(rows, expected, record)]
        for part in known:
            outside = ~record.ball.contains(part.x_adv, part.x)
            wrong += [f"the witness of {position} lies outside its ball" for position in part.index[outside].tolist()]
            wrong += _distances(record, part)
    except (*UNREADABLE, InputError) as error:
        yield Finding(check="balls", holds=False, detail=f"witnesses cannot be read: {error}")
        return
    detail = several(wrong) or f"{len(index)} witnesses, one per broken example, all in their balls"
    yield Finding(check="balls", holds=not wrong, detail=detail)


def _distances(record: Record, part: Witnesses) -> list[str]:
    """Return whose distance is not one of a point at most as far as the witness: the nearest that was found."""
    rows = record.rows_of(part.index)
    by_attack = (rows >= 0) & torch.from_numpy(record.flag("attack.broken"))[rows]
    stated = record.column("attack.distance")[rows[by_attack].numpy()]
    far = record.ball.distance(part.x_adv, part.x)[by_attack].numpy()
    wrong = ~((stated >= 0) & (stated <= far * _ROUNDED))
    return rows_that("a distance beyond the witness", wrong, part.index[by_attack].numpy())


def _missing(rows: torch.Tensor, expected: torch.Tensor, record: Record) -> str:
    index = record.column("index")
    without = sorted(set(expected.tolist()) - set(rows.tolist()))
    beyond = sorted(set(rows.tolist()) - set(expected.tolist()))
    said = [f"broken {index[row]} has no witness" for row in without]
    said += [
        "a witness is of no example" if row < 0 else f"{index[row]} has a witness, and is not broken" for row in beyond
    ]
    return several(said) or "a witness stands twice"


def _tensor(column: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(column.copy())
