"""Pages of the reference list the items of the chapter that use what they are about."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, get_type_hints

from mdit_py_plugins.anchors.index import slugify
from sphinx.application import Sphinx

import epsball
from epsball.attacks import ATTACKS
from epsball.certificates import ALIASES, METHODS
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import DEFENCES
from epsball.chapter.registry import ITEMS
from epsball.training import OBJECTIVES

PACKAGE = "epsball.chapter"


@cache
def items_by_name() -> dict[str, list[str]]:
    """Return the names of the items that use each public object, by the object's name behind ``epsball.``."""
    public = {id(getattr(epsball, name)): name for name in epsball.__all__ if not name.endswith("Error")}
    used: dict[str, list[str]] = {}
    for item in ITEMS:
        values = list(_values(item.measure, set()))
        found = {public[id(value)] for value in values if id(value) in public}
        found |= {name for verb in found if (name := _returned(getattr(epsball, verb))) in epsball.__all__}
        for name in found | _methods(item):
            used.setdefault(name, []).append(item.name)
    return used


def _methods(item: Item) -> set[str]:
    """Return the attacks and bounds that an item names by text, and the objectives of its networks."""
    values = (value for value in _values(item.measure, set(), f"{PACKAGE}.items") if value is not DEFENCES)
    texts = {text.partition(",")[0] for value in values for text in _texts(value)}
    networks = {*item.networks, *(texts & set(DEFENCES))}
    objectives, named = {DEFENCES[name][0].partition(",")[0] for name in networks}, texts - networks
    return {
        *(f"attacks.{ATTACKS[name].__name__}" for name in named & set(ATTACKS)),
        *(f"certificates.{METHODS[ALIASES.get(name, name)].bound.__name__}" for name in named & {*METHODS, *ALIASES}),
        *(f"training.{OBJECTIVES[name].__name__}" for name in objectives & set(OBJECTIVES)),
    }


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value; of a mapping those of its values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for inner in value.values() for text in _texts(inner))
    elif isinstance(value, tuple | list):
        yield from (text for inner in value for text in _texts(inner))


def _values(function: Any, seen: set[int], package: str = PACKAGE) -> Iterator[Any]:
    """Yield what a function refers to, and what the functions of the package that it calls do."""
    if not isinstance(function, FunctionType) or id(function) in seen:
        return
    seen.add(id(function))
    yield from function.__defaults__ or ()
    for code in _codes(function.__code__):
        yield from code.co_consts
        names = set(code.co_names)
        for value in _resolved(names, function.__globals__):
            yield value
            if (getattr(value, "__module__", None) or "").startswith(package):
                yield from _values(value, seen, package)


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
    names = items_by_name().get(name.removeprefix("epsball."), [])
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
