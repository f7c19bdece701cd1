"""What verifying a run shows: one finding per check."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball.errors import CertificateError, SoundnessError
from epsball.results import Result, arrow_table, jsonable, text_table

if TYPE_CHECKING:
    import pyarrow

_SAID = {True: "holds", False: "does not hold", None: "not checked"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of a run.

    Parameters
    ----------
    check
        Its name.
    holds
        Whether it holds; None where it could not be made.
    detail
        What was checked and seen, or why it was not.
    contradiction
        Whether a witness and a certificate contradict each other.
    """

    check: str
    holds: bool | None
    detail: str
    contradiction: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class RunVerification(Result):
    """What holds of a run.

    Parameters
    ----------
    folder
        The run's.
    findings
        One per check.

    Examples
    --------
    >>> found = RunVerification(folder=Path("run"), findings=(Finding(check="files", holds=False, detail="..."),))
    >>> found.holds, found.exit_code
    (False, 6)
    """

    folder: Path
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """Whether all that was checked holds."""
        return all(finding.holds is not False for finding in self.findings)

    @property
    def not_checked(self) -> tuple[str, ...]:
        """The checks that could not be made."""
        return tuple(finding.check for finding in self.findings if finding.holds is None)

    @property
    def exit_code(self) -> int:
        """0 where all holds, 8 at a contradiction, 6 where something else does not hold."""
        if any(finding.contradiction for finding in self.findings):
            return SoundnessError.exit_code
        return 0 if self.holds else CertificateError.exit_code

    def __str__(self) -> str:
        rows = [(finding.check, _SAID[finding.holds], finding.detail) for finding in self.findings]
        lines = [text_table(("check", "", ""), rows), ""]
        if self.not_checked:
            lines.append(f"not checked: {', '.join(self.not_checked)}")
        failed = [finding.check for finding in self.findings if finding.holds is False]
        lines.append(f"does not hold: {', '.join(failed)}" if failed else "all that was checked holds")
        return "\n".join(lines)

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per check; `holds` is null where it was not made."""
        return arrow_table(
            {
                "check": [finding.check for finding in self.findings],
                "holds": [None if finding.holds is None else str(finding.holds).lower() for finding in self.findings],
                "detail": [finding.detail for finding in self.findings],
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the findings made of JSON's types."""
        return jsonable({"folder": self.folder, "holds": self.holds, "findings": self.findings})
