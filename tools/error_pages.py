"""Write a page per error and mistake into docs/errors: ``python tools/error_pages.py``.

A page has why the rule exists, what to do, and what bad input was seen to get (`tools/messages.py`). Messages name
their page: `See 'epsball explain NAME'.`
"""

import sys
from pathlib import Path

from epsball import errors
from epsball.cli.exit_codes import EXIT_CODES
from epsball.files import write_atomically
from epsball.mistakes import MISTAKES, page_of

FOLDER = Path(__file__).parent.parent / "docs" / "errors"
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.EpsballError)
}


def pages(seen: dict[str, errors.EpsballError]) -> dict[str, str]:
    """Return the text of each page by name; `seen` holds the error that each kind of bad input got."""
    made = {name: mistake_page(name, seen) for name in MISTAKES}
    made |= {name: class_page(name, seen) for name in CLASSES}
    return {**made, "index": index()}


def mistake_page(name: str, seen: dict[str, errors.EpsballError]) -> str:
    """Return the page about a mistake."""
    mistake = MISTAKES[name]
    found = {case: error for case, error in seen.items() if error.page == name}
    kinds = sorted({type(error).__name__ for error in found.values()} | {k for k in CLASSES if page_of(k, "") == name})
    raised = ", ".join(f"[{kind}]({kind}.md)" for kind in kinds)
    lines = [f"# {mistake.title}", "", f"    epsball explain {name}", ""]
    lines += [mistake.why, "", "## What to do", "", *(f"- {fix}" for fix in mistake.fix), ""]
    return "\n".join([*lines, f"Raised as {raised}." if raised else "", *_messages(found)]).rstrip() + "\n"


def class_page(name: str, seen: dict[str, errors.EpsballError]) -> str:
    """Return the page about a class of errors."""
    kind = CLASSES[name]
    about = (kind.__doc__ or "").partition("\n\n")[0]
    found = {case: error for case, error in seen.items() if type(error).__name__ == name}
    mistakes = sorted({*(error.page for error in found.values()), page_of(name, "")} & set(MISTAKES))
    lines = [f"# {name}", "", f"    epsball explain {name}", "", about, ""]
    lines += [f"A command that ends with it has exit code {kind.exit_code}: {EXIT_CODES[kind.exit_code]}.", ""]
    if mistakes:
        lines += ["## Mistakes that raise it", ""]
        lines += [f"- [{MISTAKES[mistake].title}]({mistake}.md)" for mistake in mistakes]
    rest = {case: error for case, error in found.items() if error.page == name}
    return "\n".join([*lines, *_messages(rest)]).rstrip() + "\n"


def _messages(found: dict[str, errors.EpsballError]) -> list[str]:
    lines = ["", "## Messages", ""] if found else []
    for case, error in found.items():
        lines += [f"For *{case}*:", "", "```text", str(error), "```", ""]
    return lines


def index() -> str:
    """Return the list of all pages."""
    lines = [
        "# Errors",
        "",
        "The command line ends a message with the name of its page, in Python `error.page` is that name.",
    ]
    lines += ["Made by `python tools/error_pages.py`.", "", "## Mistakes", ""]
    lines += [f"- [{mistake.title}]({name}.md): `epsball explain {name}`" for name, mistake in MISTAKES.items()]
    lines += ["", "## Classes", "", "| class | exit code |", "| --- | --- |"]
    lines += [f"| [{name}]({name}.md) | {kind.exit_code} |" for name, kind in CLASSES.items()]
    names = [*MISTAKES, *CLASSES]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", *names, "```"]) + "\n"


def main(*, check: bool) -> int:
    """Write the pages, or compare them and the table of messages; return the exit code."""
    from messages import seen, table

    found = seen()
    made = {FOLDER / f"{name}.md": text for name, text in pages(found).items()}
    if check:
        made[FOLDER.parent / "messages.md"] = table(found) + "\n"
        old = [
            path.name for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text
        ]
        print(f"not of today: {', '.join(old)}" if old else "pages and table are those of today")
        return int(bool(old))
    for path in {*FOLDER.glob("*.md")} - set(made):
        path.unlink()
    for path, text in made.items():
        write_atomically(path, text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
