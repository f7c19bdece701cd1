"""``epsball report``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from epsball.cli.common import Output
from epsball.cli.progress import Loudness
from epsball.errors import InputError

_LOUDNESS = Loudness()

Run = Annotated[Path, Parameter(help="Folder of an audit, or of audits within several balls.")]
SecondRun = Annotated[Path | None, Parameter(help="Another audit of the same examples within the same ball.")]


def report(
    run: Run,
    run_b: SecondRun = None,
    /,
    *,
    out: Path | None = None,
    pictures: str = "",
    loudness: Loudness = _LOUDNESS,
) -> Output:
    """Make the page of a run: one HTML file that needs no network, from the evidence alone.

    With a second run the page is about that one, and about what changed from the first. A run that is going on has a
    page too, which says so.

    Parameters
    ----------
    out
        The file; by default report.html in the folder of the run that the page is about.
    pictures
        Positions of examples that are shown in pictures whatever the rule, as in 17,1234.
    """
    from epsball.report import page

    made = page(run, run_b, pictures=_positions(pictures))
    file = made.write(out)
    return Output(f"page: {file} ({len(made.html.encode()):,} bytes)")


def _positions(text: str) -> list[int]:
    """Return the positions that a text names."""
    words = [word for word in text.replace(",", " ").split() if word]
    if not all(word.isdecimal() for word in words):
        raise InputError(f"--pictures is '{text}'; name positions of examples, as in --pictures 17,1234.")
    return [int(word) for word in words]
