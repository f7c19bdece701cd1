"""A gate's answer as SARIF 2.1.0: what is not met, at the line of the file that asks for it.

References
----------
OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0" (2020), sections 3.13 (sarifLog), 3.27
(result), 3.28 (location) and 3.49 (reportingDescriptor).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from epsball._version import __version__
from epsball.auditing.gating.result import Decision, Gate
from epsball.names import OnUndecided
from epsball.toml_files import line_of

ROOT = "SRCROOT"
"""SARIF's name of the directory in which the gate ran: the project's, in CI."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a condition is asked for.

    Parameters
    ----------
    file
        The file.
    line
        The line, from 1.
    """

    file: Path
    line: int

    @classmethod
    def of(cls, file: Path, keys: tuple[str, ...]) -> "Place":
        """Return where a key stands in a TOML file: its line, or the first where it cannot be found."""
        return cls(file=file, line=line_of(file.read_text(encoding="utf-8"), keys) or 1)

    def location(self) -> dict[str, Any]:
        """Return a SARIF location: relative to the working directory where the file lies below it."""
        here, file = Path.cwd(), self.file.absolute()
        if file.is_relative_to(here):
            artifact = {"uri": quote(file.relative_to(here).as_posix()), "uriBaseId": ROOT}
        else:
            artifact = {"uri": file.as_uri()}
        return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": self.line}}}


def to_sarif(gate: Gate, places: Mapping[str, Place], on_undecided: OnUndecided = "fail") -> str:
    """Return a SARIF log with one result per condition that is not met, or cannot be told.

    Parameters
    ----------
    gate
        The answer.
    places
        Where each condition is asked for; a condition that stands in no file has no location.
    on_undecided
        What an answer that cannot be given counts as: where it passes, it is a note, not a warning.
    """
    untold = "warning" if on_undecided == "fail" else "note"
    driver = {
        "name": "epsball",
        "semanticVersion": __version__,
        "rules": [_rule(decision) for decision in gate.decisions],
    }
    results = [
        _result(gate, decision, index, "error" if decision.answer == "fail" else untold, places)
        for index, decision in enumerate(gate.decisions)
        if decision.answer != "pass"
    ]
    notes = [{"level": "note", "message": {"text": note}} for note in gate.notes]
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "originalUriBaseIds": {ROOT: {"description": {"text": "The directory in which the gate ran."}}},
        "results": results,
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(decision: Decision) -> dict[str, Any]:
    name = decision.condition.name
    return {
        "id": name,
        "shortDescription": {"text": f"{name.replace('_', ' ')}: a least share of examples is not met."},
        "fullDescription": {"text": f"What passing says: {decision.condition.meaning}."},
        "defaultConfiguration": {"level": "error"},
    }


def _result(gate: Gate, decision: Decision, index: int, level: str, places: Mapping[str, Place]) -> dict[str, Any]:
    place = places.get(decision.condition.name)
    return {
        "ruleId": decision.condition.name,
        "ruleIndex": index,
        "kind": "fail",
        "level": level,
        "message": {"text": gate.sentence(decision)},
        "locations": [] if place is None else [place.location()],
    }
