"""What a tracker logs of a run: numbers with the ends of their intervals, words, and the whole export."""

import re
from dataclasses import dataclass
from pathlib import Path

from epsball.auditing.exporting import Export, export
from epsball.auditing.exporting.result_fields import RESULT_FIELDS
from epsball.auditing.exporting.subject_fields import SUBJECT_FIELDS
from epsball.auditing.result import Audit


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What is logged of a run.

    Parameters
    ----------
    numbers
        Results by name, as in ``epsball/natural_accuracy``; with ``_low`` and ``_high`` the ends of their intervals.
    words
        What was tested, and results that are words; "not measured" where they were not.
    document
        All fields with their evidence, as `epsball.export` writes them.
    """

    numbers: dict[str, float]
    words: dict[str, str]
    document: dict[str, object]


def logged(run: str | Path | Audit) -> Logged:
    """Return what is logged of a run; its values are read off the evidence, like those of an export."""
    found = export(run)
    words = {f"epsball/{_key(name)}": found.fields[name].text for name in (*SUBJECT_FIELDS, "diagnosis")}
    return Logged(numbers=_numbers(found), words=words, document=found.to_json())


def _numbers(found: Export) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name in RESULT_FIELDS:
        value, key = found.fields[name].value, f"epsball/{_key(name)}"
        if value is None or isinstance(value.value, str):
            continue
        numbers[key] = float(value.value)
        if value.interval is not None:
            numbers |= {f"{key}_low": value.interval.low, f"{key}_high": value.interval.high}
    return numbers


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name)
