"""Print the cheat sheet: ``python tools/cheat_sheet.py > docs/cheat_sheet.md``."""

import inspect
import re
from collections.abc import Iterable
from typing import get_args

from epsball.auditing.meanings import VERDICTS
from epsball.cli.app import app
from epsball.cli.exit_codes import EXIT_CODES
from epsball.cli.listing import Entry, listing
from epsball.names import NormName

HEAD = """# Cheat sheet

Made by `python tools/cheat_sheet.py` from the registries. `epsball explain NAME` says more about any name here.

    epsball train OBJECTIVE MODEL DATA --ball BALL --out RUN
    epsball audit RUN/card.json DATA --ball BALL --out AUDIT     # the chain, AUDIT/report.html, evidence
    epsball gate RUN/card.json DATA --ball BALL --min-robust 0.5

| word | how it is said |
| --- | --- |
| `BALL` | `linf:8/255`, `l2:0.5`, `l1:12`; pixels of [0, 1] |
| `MODEL` | a name or file of the table below, `[@WEIGHTS][,mean=..][,std=..][,OPTION=..]` behind it |
| `DATA` | KIND`[:PATH][,split=test][,first=1000]` |
| a method with options | NAME`,option=value,option=value` |
"""


def commands() -> list[tuple[str, str]]:
    """Return the commands with the first sentence of their help."""
    names = [name for name in app if not name.startswith("-")]
    return [
        (name, sentence(app[name].help or inspect.getdoc(app[name].default_command) or "")) for name in sorted(names)
    ]


def sentence(text: str) -> str:
    """Return the first sentence of a text."""
    return " ".join(re.split(r"\.\s|\n\n", text.strip(), maxsplit=1)[0].split()).rstrip(".").replace("|", "\\|")


def named(entries: Iterable[Entry]) -> str:
    """Return names in one line."""
    return ", ".join(f"`{entry.name}`" for entry in entries)


def page() -> str:
    """Return the page."""
    entries = listing().entries
    norms: dict[str, list[Entry]] = {}
    for entry in entries["attacks"]:
        norms.setdefault(", ".join(sorted(entry.norms or (), key=get_args(NormName).index)), []).append(entry)
    rows = [(f"attacks in {norm}" if norm else "attacks", named(found)) for norm, found in norms.items()]
    rows += [(f"{subject}", named(entries[subject])) for subject in ("objectives", "methods", "models", "data")]
    kinds = {"methods": "certificates", "data": "kinds of data"}
    parts = [
        HEAD,
        "## Names",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {kinds.get(kind, kind)} | {text} |" for kind, text in rows),
    ]
    parts += ["", "## Commands", "", "| command | what it does |", "| --- | --- |"]
    parts += [f"| `{name}` | {text} |" for name, text in commands()]
    parts += ["", "## Verdicts of an example", "", "| verdict | means |", "| --- | --- |"]
    parts += [f"| `{name}` | {sentence(text)} |" for name, text in VERDICTS.items()]
    parts += ["", "## Exit codes", "", ", ".join(f"{code} {words}" for code, words in EXIT_CODES.items()) + "."]
    return "\n".join(parts)


if __name__ == "__main__":
    print(page())
