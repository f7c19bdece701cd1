"""``epsball export``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from epsball.cli.common import Output
from epsball.cli.progress import Loudness
from epsball.files import write_atomically
from epsball.names import ExportForm

_LOUDNESS = Loudness()
_Run = Annotated[Path, Parameter(help="The folder of a finished audit.")]
_As = Annotated[ExportForm, Parameter(name="--as")]


def export(
    run: _Run,
    /,
    *,
    form: _As = "json",
    system: str | None = None,
    system_version: str | None = None,
    tester: str | None = None,
    out: Path | None = None,
    loudness: Loudness = _LOUDNESS,
) -> Output:
    """Write a run's results in a form that others take, each value with its place in the evidence.

    Forms: json and csv, all fields; modelcard, a card with Hugging Face's model-index; iso24029, the properties and the
    kinds of methods of ISO/IEC 24029-2; aiact15, what a record on article 15 of the EU AI Act asks. What was not
    measured, or stands on a file that is missing or was changed, reads "not measured".

    Parameters
    ----------
    form
        The form.
    system
        Name of the system; modelcard, iso24029 and aiact15 need it.
    system_version
        Version of the system; iso24029 and aiact15 need it.
    tester
        Who tested; iso24029 and aiact15 need it.
    out
        File of the document, instead of standard output; NAME.md writes iso24029 and aiact15 in Markdown.
    """
    from epsball.auditing import export as run_export

    result = run_export(run, form=form, system=system, system_version=system_version, tester=tester)
    if out is None:
        return Output(result.text.rstrip("\n"))
    clauses = out.suffix == ".md" and form in ("iso24029", "aiact15")
    write_atomically(out, (result.markdown if clauses else result.text).encode())
    missing = ", ".join(result.not_measured)
    return Output(f"{out}: {len(result.fields)} fields\nnot measured: {missing or 'nothing'}")
