"""``epsball explain``."""

import difflib
import json as documents
from typing import Annotated

from cyclopts import Parameter

from epsball.cli.common import Output
from epsball.cli.explaining.kinds import KINDS, Kind, pages
from epsball.cli.explaining.page import Page
from epsball.cli.progress import Loudness
from epsball.errors import InputError

_LOUDNESS = Loudness()
_Name = Annotated[str | None, Parameter(help="A name, or a kind of names; without it, the kinds are listed.")]
_Json = Annotated[bool, Parameter(help="Print one JSON document to standard output instead of text.", negative=())]

MOST = 3
"""Names that are suggested for an unknown one."""


def explain(*words: _Name, json: _Json = False, loudness: Loudness = _LOUDNESS) -> Output:
    """Say what an attack, objective, bound, check, verdict, condition, mistake, error, exit code or column is.

    The page has what it does with its formula, its options, its source, its file, what it tells and what it does not.
    """
    name = " ".join(word for word in words if word)
    if not name:
        return _kinds(json=json)
    if name.rstrip("s") in KINDS:
        return _names(name.rstrip("s"), json=json)
    every = list(pages())
    found = [page for page in every if _same(page.name, name)]
    if not found:
        raise InputError(
            f"there is no page '{name}'.{_suggested(name, every)} epsball explain lists the kinds of names."
        )
    if json:
        told = [{**page.to_json(), "tells": KINDS[page.kind].tells} for page in found]
        return Output(documents.dumps(told, indent=2, ensure_ascii=False))
    return Output("\n\n".join(_text(page, KINDS[page.kind]) for page in found))


def _text(page: Page, kind: Kind) -> str:
    return f"{page}\n\nwhat it tells, and what not:\n  {kind.tells}" if kind.tells else str(page)


def _kinds(*, json: bool) -> Output:
    if json:
        return Output(documents.dumps({name: kind.what for name, kind in KINDS.items()}, indent=2))
    width = max(map(len, KINDS))
    lines = [f"  {name:{width}}  {kind.what}" for name, kind in KINDS.items()]
    head = "epsball explain NAME explains one of these; epsball explain KIND lists the names of a kind."
    return Output("\n".join([head, "", *lines]))


def _names(kind: str, *, json: bool) -> Output:
    found = {page.name: page.text.partition("\n\n")[0].replace("\n", " ") for page in KINDS[kind].pages()}
    if json:
        return Output(documents.dumps(found, indent=2, ensure_ascii=False))
    from epsball.results import text_table

    return Output(f"{KINDS[kind].what}\n\n{text_table((kind, ''), list(found.items()))}")


def _same(known: str, given: str) -> bool:
    return _plain(known) == _plain(given)


def _plain(name: str) -> str:
    return name.lower().lstrip("-").replace("_", "-").replace(" ", "-")


def _suggested(name: str, every: list[Page]) -> str:
    plain = {_plain(page.name): page.name for page in every}
    near = [plain[close] for close in difflib.get_close_matches(_plain(name), plain, n=MOST, cutoff=0.5)]
    return f" Did you mean {', '.join(map(repr, near))}?" if near else ""
