"""``epsball list``: what the registries hold, one line each."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Annotated, Any, Literal, get_args

from cyclopts import Parameter

from epsball.cli.common import Output
from epsball.cli.progress import Loudness

Subject = Literal["attacks", "objectives", "methods", "models", "data"]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)

_LOUDNESS = Loudness()
_Subject = Annotated[Subject | None, Parameter(help="What to list; without it, everything.")]
_Json = Annotated[bool, Parameter(help="Print one JSON document to standard output instead of text.", negative=())]

USES: dict[Subject, str] = {
    "attacks": "epsball attack --method NAME[,option=value]..., epsball audit --attack ...",
    "objectives": "epsball train NAME[,option=value]...",
    "methods": "epsball certify --method NAME, epsball audit --certificates NAME",
    "models": "MODEL is NAME[@WEIGHTS][,mean=..][,std=..][,option=value]...",
    "data": "DATA is NAME[,first=1000][,indices=FILE][,option=value]...",
}
CASCADE = "Those that fit, in the order of their cost, each on what is not certified yet."
"""What the method auto is."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is registered under a name.

    Parameters
    ----------
    name
        As it is written on the command line.
    what
        One sentence.
    norms
        The norms it is defined for; None where norms do not matter.
    """

    name: str
    what: str
    norms: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Registries as a result: tables, or JSON."""

    entries: dict[Subject, list[Entry]]

    def to_json(self) -> dict[str, Any]:
        """Return the entries by subject."""
        return {subject: [_document(entry) for entry in entries] for subject, entries in self.entries.items()}

    def __str__(self) -> str:
        return "\n\n".join(_table(subject, entries) for subject, entries in self.entries.items())


def list_names(subject: _Subject = None, /, *, json: _Json = False, loudness: Loudness = _LOUDNESS) -> Output:
    """List attacks, training objectives, methods of certificates, models and data, one line each."""
    found = listing(SUBJECTS if subject is None else (subject,))
    return Output(dumps(found.to_json(), indent=2) if json else str(found))


def listing(subjects: Sequence[Subject] = SUBJECTS) -> Listing:
    """Return what the registries of these subjects hold."""
    return Listing(entries={name: list(_SOURCES[name]()) for name in subjects})


def _attacks() -> Iterable[Entry]:
    from epsball.attacks import ATTACKS, Collision, Transfer
    from epsball.attacks.registry import known

    for name, kind in ATTACKS.items():
        yield Entry(name=name, what=_sentence(kind), norms=kind.norms)
    yield Entry(name="collision", what=f"{_sentence(Collision)} With --pool DATA.", norms=Collision.norms)
    yield Entry(name="transfer", what=f"{_sentence(Transfer)} By --surrogate MODEL.", norms=Transfer.norms)
    for name, point in known().items():
        if name not in ATTACKS:
            yield Entry(name=name, what=f"Of another package: {point.value}.")  # pyright: ignore[reportAttributeAccessIssue]


def _objectives() -> Iterable[Entry]:
    from epsball.training import OBJECTIVES

    return [Entry(name=name, what=_sentence(kind)) for name, kind in OBJECTIVES.items()]


def _methods() -> Iterable[Entry]:
    from epsball.certificates import ALIASES, AUTO, METHODS

    yield Entry(name=AUTO, what=CASCADE)
    for name, method in METHODS.items():
        others = [alias for alias, stored in ALIASES.items() if stored == name]
        also = f" Also called {' and '.join(others)}." if others else ""
        yield Entry(name=name, what=_sentence(method.bound) + also)


def _models() -> Iterable[Entry]:
    from epsball.models.architectures import ARCHITECTURES
    from epsball.models.loader import FORMS

    yield from (Entry(name=name, what=_sentence(builder)) for name, builder in ARCHITECTURES.items())
    yield from (Entry(name=form, what=what) for form, what in FORMS.items())


def _data() -> Iterable[Entry]:
    from epsball.data.loading import KINDS, PATHLESS

    for name, opener in KINDS.items():
        yield Entry(name=name if name in PATHLESS else f"{name}:PATH", what=_sentence(opener))


_SOURCES: dict[Subject, Callable[[], Iterable[Entry]]] = {
    "attacks": _attacks,
    "objectives": _objectives,
    "methods": _methods,
    "models": _models,
    "data": _data,
}


def _sentence(registered: object) -> str:
    """Return the first sentence of a docstring, as one of a list of things."""
    text = " ".join((inspect.getdoc(registered) or "").split("\n\n")[0].split())
    text = text.replace("`", "").removeprefix("Return ")
    return text[:1].upper() + text[1:]


def _document(entry: Entry) -> dict[str, Any]:
    norms = {} if entry.norms is None else {"norms": list(entry.norms)}
    return {"name": entry.name, "what": entry.what, **norms}


def _table(subject: Subject, entries: list[Entry]) -> str:
    from epsball.results import text_table

    if all(entry.norms is None for entry in entries):
        table = text_table((subject, ""), [(entry.name, entry.what) for entry in entries])
    else:
        rows = [(entry.name, ", ".join(entry.norms or ()), entry.what) for entry in entries]
        table = text_table((subject, "norms", ""), rows)
    return f"{USES[subject]}\n\n{table}"
