"""The check of a run's certificates: by the independent checker, one file per certified example."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from epsball import progress
from epsball.auditing.verifying.record import UNREADABLE, Record
from epsball.auditing.verifying.result import Finding
from epsball.auditing.verifying.sentences import several
from epsball.certificates import ALIASES, AUTO, METHODS, Verifier, methods_of
from epsball.data import Dataset, as_pixels

_ROOM = 1.01 * 2.0**-16
"""By how much a claim lies below the bound that it was made of, relative to 1 + its size: room for the checker."""


def certificates(record: Record, dataset: Dataset | None, verifier: Verifier | None) -> Iterator[Finding]:
    """Replay every certificate, and compare it with the row that rests on it.

    Parameters
    ----------
    record
        The run.
    dataset
        Its data, with which the centres of the balls are compared; or None.
    verifier
        The captured network of its model, which its certificates must be about; or None.
    """
    certified = record.flag("certificate.certified")
    replayable = certified & record.flag("certificate.replayable")
    if not certified.any():
        return
    yield from _unreplayable(record, np.nonzero(certified & ~replayable)[0].tolist(), verifier)
    try:
        import epsball_replay
        from epsball_replay.files import read_certificate
    except ImportError:
        yield Finding(check="certificates", holds=None, detail="python-flint is missing: pip install 'epsball[replay]'")
        return
    model_hash = None if verifier is None else verifier.graph.fingerprint()
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


def _unreplayable(record: Record, rows: Sequence[int], verifier: Verifier | None) -> Iterator[Finding]:
    """Say whether certificates without a file can be such: a run made up could call any certificate one."""
    if not rows:
        return
    index, method = record.column("index"), record.column("certificate.method")
    faults = [(int(index[row]), _why_not(record, method[row], verifier)) for row in rows]
    margin = record.column("certificate.margin")
    faults += [(int(index[row]), f"its margin is {margin[row]:.6g}") for row in rows if not margin[row] > 0]
    wrong = [f"the certificate of {position} has no file: {fault}" for position, fault in faults if fault]
    kept = record.identity.get("links", {}).get("kept certificates") != "none"
    why = "their method or network is none that the checker knows" if kept else "the run kept no certificates"
    detail = f"{len(rows)}: {why}; they rest on epsball alone"
    yield Finding(check="certificates without a file", holds=False if wrong else None, detail=several(wrong) or detail)


def _why_not(record: Record, method: str | None, verifier: Verifier | None) -> str | None:
    """Return why a certificate by a method should have a file; None where there can be none."""
    links = record.identity.get("links", {})
    if links.get("kept certificates") == "none":
        return None  # as was asked for; it says so that they rest on epsball alone
    link = links.get("certificate", {})
    named = link.get("method") if isinstance(link, dict) else None
    if isinstance(named, dict):  # a bound of the user's own
        bound = str(named.get("bound"))  # a dotted name, or FILE.py:NAME
        return None if bound.endswith((f".{method}", f":{method}")) else f"'{method}' is not the run's bound, {bound}"
    if method not in METHODS:
        return f"'{method}' is not a method of certificates"
    if named not in (AUTO, *METHODS, *ALIASES):
        return f"the run's method is '{named}', which makes none"
    used = METHODS if verifier is None else methods_of(named, verifier.bounded, record.ball.norm)
    if method not in used:
        return f"'{method}' is none of the methods of this run"
    if METHODS[method].replay is None or (verifier is not None and verifier.not_replayable is not None):
        return None
    if verifier is None:
        return f"'{method}' can be replayed; whether the network can is told with MODEL and DATA"
    return f"'{method}' and the network can be replayed"


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
