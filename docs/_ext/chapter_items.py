"""Pages of the reference list the items of the chapter that use what they are about."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, get_type_hints

from mdit_py_plugins.anchors.index import slugify
from sphinx.application import Sphinx

import epsball
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.registry import ITEMS

PACKAGE = "epsball.chapter"


@cache
def items_by_name() -> dict[str, list[str]]:
    """Return the names of the items that use each public object, by the object's name."""
    public = {id(getattr(epsball, name)): name for name in epsball.__all__ if not name.endswith("Error")}
    used: dict[str, list[str]] = {}
    for item in ITEMS:
        found = {public[id(value)] for value in _values(item.measure, set()) if id(value) in public}
        for name in found | {name for verb in found if (name := _returned(getattr(epsball, verb))) in epsball.__all__}:
            used.setdefault(name, []).append(item.name)
    return used


def _values(function: Any, seen: set[int]) -> Iterator[Any]:
    """Yield what a function of the chapter refers to, and what the chapter's functions that it calls do."""
    if not isinstance(function, FunctionType) or id(function) in seen:
        return
    seen.add(id(function))
    for names in (set(code.co_names) for code in _codes(function.__code__)):
        for value in _resolved(names, function.__globals__):
            yield value
            if (getattr(value, "__module__", None) or "").startswith(PACKAGE):
                yield from _values(value, seen)


def _resolved(names: set[str], known: dict[str, Any]) -> Iterator[Any]:
    for name in names:
        value = known.get(name, vars(Laboratory).get(name))
        yield value
        if isinstance(value, ModuleType) and value.__name__.startswith("epsball"):
            yield from (getattr(value, attribute) for attribute in names if hasattr(value, attribute))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _returned(verb: Any) -> str:
    """Return the name of the class that a verb returns."""
    if not isinstance(verb, FunctionType):
        return ""
    try:
        return getattr(get_type_hints(verb).get("return"), "__name__", "")
    except NameError:
        return str(verb.__annotations__.get("return", "")).strip("'\"")


def list_items(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Append the list to the docstring of a public object."""
    names = items_by_name().get(name.removeprefix("epsball."), []) if name.count(".") == 1 else []
    if not names:
        return
    links = [f"`{item} <../gallery.html{_anchor(Path(app.srcdir), item)}>`__" for item in names]
    lines += ["", ".. rubric:: In the chapter", "", f"Used by {', '.join(links)}.", ""]


def _anchor(docs: Path, item: str) -> str:
    found = docs / "chapter" / f"{item}.json"
    if not found.exists():
        return ""
    about = json.loads(found.read_text(encoding="utf-8"))
    return "#" + slugify(f"{about['section']} {about['title']}")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the list; after what reads NumPy's sections, so that it stands behind them."""
    app.connect("autodoc-process-docstring", list_items, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
