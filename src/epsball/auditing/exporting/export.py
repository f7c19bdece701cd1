"""`export`: the results of a run in a form that others take, each value with its place in the evidence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from epsball.auditing.exporting.field import Field, Value
from epsball.auditing.exporting.formal_fields import FORMAL_FIELDS
from epsball.auditing.exporting.forms.aiact15 import AIACT15
from epsball.auditing.exporting.forms.documents import all_fields, comma_separated, table_of
from epsball.auditing.exporting.forms.iso24029 import ISO24029
from epsball.auditing.exporting.forms.model_card import model_card
from epsball.auditing.exporting.forms.sections import Sections
from epsball.auditing.exporting.given_fields import unfilled
from epsball.auditing.exporting.reader import measured
from epsball.auditing.exporting.result_fields import RESULT_FIELDS
from epsball.auditing.exporting.run_files import RunFiles
from epsball.auditing.exporting.subject_fields import SUBJECT_FIELDS
from epsball.auditing.result import Audit
from epsball.errors import InputError, lookup
from epsball.interface import option
from epsball.names import ExportForm
from epsball.results import Result, arrow_table, text_table

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form in which results leave.

    Parameters
    ----------
    written
        The text of the fields.
    asks
        What must be given beside the run.
    sections
        Its clauses, where it has any: such a form can be written in Markdown too.
    """

    written: Callable[[Mapping[str, Field]], str]
    asks: tuple[str, ...] = ()
    sections: Sections | None = None


_PERSONS = ("system", "system_version", "tester")

FORMS: Mapping[str, Form] = {
    "json": Form(written=all_fields),
    "csv": Form(written=comma_separated),
    "modelcard": Form(written=model_card, asks=("system",)),
    "iso24029": Form(written=ISO24029.to_json, asks=_PERSONS, sections=ISO24029),
    "aiact15": Form(written=AIACT15.to_json, asks=_PERSONS, sections=AIACT15),
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Export(Result):
    """A run's results as fields, and the form they leave in.

    Parameters
    ----------
    form
        The form's name.
    fields
        All fields by name, those that the form does not ask for too.
    """

    form: ExportForm
    fields: Mapping[str, Field]

    @property
    def text(self) -> str:
        """The document of the form."""
        return FORMS[self.form].written(self.fields)

    @property
    def markdown(self) -> str:
        """The document in Markdown, clause by clause, of a form that has clauses.

        Raises
        ------
        InputError
            If the form has none.
        """
        sections = FORMS[self.form].sections
        if sections is None:
            raise InputError(f"the form is '{self.form}'; iso24029 and aiact15 can be written in Markdown. Choose one.")
        return sections.to_markdown(self.fields)

    @property
    def not_measured(self) -> tuple[str, ...]:
        """The fields that were not measured."""
        return tuple(field.name for field in self.fields.values() if field.value is None and not field.given)

    def __str__(self) -> str:
        rows = [(field.name, field.text, field.missing or "") for field in self.fields.values()]
        return text_table(("field", "value", "because"), rows)

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per field: value and interval as text, and its evidence."""
        return arrow_table(table_of(self.fields))

    def to_json(self) -> dict[str, object]:
        """Return all fields as JSON's types."""
        return {"form": self.form, "fields": [field.to_json() for field in self.fields.values()]}


def export(
    run: str | Path | Audit,
    *,
    form: ExportForm = "json",
    system: str | None = None,
    system_version: str | None = None,
    tester: str | None = None,
) -> Export:
    """Return a finished run's results in a form that others take.

    Every value is read off the evidence anew, and names the files, rows and columns it was read from, with the files'
    hashes. A piece of evidence that is missing, or is not the one of the run's manifest, turns each field that stands
    on it into "not measured"; so do witnesses and certificates that are missing. No field says that anything passes.

    Parameters
    ----------
    run
        The folder of an audit, or the audit, made with a folder.
    form
        ``"json"`` and ``"csv"``: all fields; ``"modelcard"``: a card with Hugging Face's model-index; ``"iso24029"``:
        the properties and the kinds of methods of ISO/IEC 24029-2; ``"aiact15"``: what a record on article 15 of the EU
        AI Act asks.
    system, system_version, tester
        What was tested and by whom; iso24029 and aiact15 need all three, modelcard the first.

    Raises
    ------
    InputError
        If the folder holds no finished run, or one of these is missing where the form asks for it.

    Examples
    --------
    >>> import tempfile, torch, epsball as eb
    >>> x, y, folder = torch.rand(8, 2), torch.arange(8) % 2, tempfile.mkdtemp()
    >>> classifier, ball = eb.Classifier(torch.nn.Linear(2, 2)), eb.Ball("linf", 0.1)
    >>> audit = eb.audit(classifier, (x, y), ball, attack="fgsm", limit=False, folder=folder)
    >>> found = eb.export(audit, form="modelcard", system="a linear network")
    >>> print(found.fields["natural accuracy"].evidence[0])
    evidence-00000.arrow rows 0-7: natural.correct, natural.failed
    >>> found.fields["relevance"].text
    'not measured'
    """
    asked = lookup(FORMS, form, "form").asks
    given = {"system": system, "system_version": system_version, "tester": tester}
    missing = [name for name in asked if not (given[name] or "").strip()]
    if missing:
        ways = ", ".join(option(name, "TEXT") for name in missing)
        names = ", ".join(name.replace("_", " ") for name in missing)
        raise InputError(
            f"the form '{form}' names {names}, which {'is' if len(missing) == 1 else 'are'} not given. Give {ways}."
        )
    files = RunFiles(_folder(run))
    fields = [_by_a_person(name.replace("_", " "), value) for name, value in given.items()]
    known = {**SUBJECT_FIELDS, **RESULT_FIELDS, **FORMAL_FIELDS}
    fields += [measured(name, files, measure) for name, measure in known.items()]
    return Export(form=form, fields={field.name: field for field in [*fields, *unfilled()]})


def _by_a_person(name: str, value: str | None) -> Field:
    return Field(name=name, value=Value(value=value) if value else None, given=True, missing="it was not given")


def _folder(run: str | Path | Audit) -> Path:
    if not isinstance(run, Audit):
        return Path(run)
    if run.folder is None:
        raise InputError("the audit was made without a folder, so it has no evidence to point at; run it with one.")
    return run.folder
