"""The check of a run's certificates: by the independent checker, one file per certified example."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from epsball import progress
from epsball.auditing.verifying.contents import several
from epsball.auditing.verifying.record import UNREADABLE, Record
from epsball.auditing.verifying.result import Finding
from epsball.data import Dataset, as_pixels

_ROOM = 1.01 * 2.0**-16
"""By how much a claim lies below the bound that it was made of, relative to 1 + its size: room for the checker."""


def certificates(record: Record, dataset: Dataset | None, model_hash: str | None) -> Iterator[Finding]:
    """Replay every certificate, and compare it with the row that rests on it.

    Parameters
    ----------
    record
        The run.
    dataset
        Its data, with which the centres of the balls are compared; or None.
    model_hash
        The fingerprint of the graph of its model; or None.
    """
    certified = record.flag("certificate.certified")
    replayable = certified & record.flag("certificate.replayable")
    if not certified.any():
        return
    yield from _unreplayable(record, int((certified & ~replayable).sum()))
    try:
        import epsball_replay
        from epsball_replay.files import read_certificate
    except ImportError:
        yield Finding(check="certificates", holds=None, detail="python-flint is missing: pip install 'epsball[replay]'")
        return
    rows, wrong = np.nonzero(replayable)[0].tolist(), []
    for done, row in enumerate(rows):
        progress.report("certificates replayed", done, len(rows))
        position = int(record.column("index")[row])
        try:
            file = _file(record, row)
            verdict = epsball_replay.replay(file, model_hash=model_hash)
            fault = _fault(record, row, verdict, read_certificate(file), dataset)
        except (epsball_replay.ReplayError, *UNREADABLE) as error:
            fault = str(error)
        wrong += [f"the certificate of {position}: {fault}"] if fault else []
    yield Finding(check="certificates", holds=not wrong, detail=several(wrong) or f"{len(rows)} certificates replayed")


def _unreplayable(record: Record, count: int) -> Iterator[Finding]:
    if count:
        why = "their method or network cannot be replayed"
        yield Finding(check="certificates without a file", holds=None, detail=f"{count}: {why}")


def _file(record: Record, row: int) -> Path:
    """Return the certificate of a row: files are numbered by positions in the source; or it is of another run."""
    taken = record.taken("certificate", row)
    if taken is not None:
        return record.folder / taken
    return record.folder / "certificates" / f"certificate-{int(record.column('index')[row]):06d}.json.gz"


def _fault(record: Record, row: int, verdict: Any, certificate: Any, dataset: Dataset | None) -> str | None:
    """Return what of a certificate is not what its row says, or None."""
    ball = record.ball
    if not verdict.stable:
        return f"it is not accepted: {verdict}"
    about = replace(ball, norm=certificate.norm, radius=Fraction(certificate.radius))
    # A certificate taken over from another run is about a ball around this one.
    if about != ball and (record.taken("certificate", row) is None or not ball.within(about)):
        return f"it is about {certificate.norm}:{certificate.radius}, not {ball}"
    if verdict.predicted != int(record.column("prediction")[row]):
        return f"it is about class {verdict.predicted}"
    if verdict.semantics != record.column("certificate.semantics")[row]:
        return f"its claim is about {verdict.semantics} semantics"
    claimed, stated = min(verdict.claims.values()), float(record.column("certificate.margin")[row])
    if not 0 <= stated - claimed <= _ROOM * (1 + abs(stated)):
        return f"it claims {claimed:.9g}, the evidence {stated:.9g}"
    if dataset is not None:
        x = as_pixels(dataset.take([row])[0]).double().flatten().numpy()
        if not np.array_equal(x, np.asarray(certificate.x, dtype=np.float64)):
            return "it is about another point than the example"
    return None
