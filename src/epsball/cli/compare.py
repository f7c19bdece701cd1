"""``epsball compare``."""

import json
from typing import Annotated

from cyclopts import Parameter

from epsball.cli.common import Folder, Output
from epsball.cli.progress import Loudness
from epsball.errors import InputError
from epsball.files import write_atomically, write_json
from epsball.names import TableFormat

_LOUDNESS = Loudness()
_Runs = Annotated[str, Parameter(help="Folders of audits, or NAME=FOLDER,FOLDER,...: the seeds of one method.")]


def compare(
    *runs: _Runs,
    table: TableFormat = "text",
    out: Folder = None,
    loudness: Loudness = _LOUDNESS,
) -> Output:
    """Compare audits of one data set within one ball: networks, epochs, defences, or methods by their seeds.

    Two networks are compared example by example (McNemar's exact test, adjusted by Holm); two methods, given as
    NAME=FOLDER,FOLDER,..., by an exact permutation test over four seeds each or more. With --out, the table goes there
    as compare.md, compare.tex, compare.csv and compare.json, and the examples whose verdicts differ as examples.csv.
    Folders of audits within several balls are compared within each ball that all of them have.

    Parameters
    ----------
    table
        How the comparison is printed.
    """
    from epsball.auditing import compare as run
    from epsball.auditing import compare_by_ball
    from epsball.auditing.manifest import runs_of

    grouped = _grouped(runs)
    folders = grouped if isinstance(grouped, list) else [folder for group in grouped.values() for folder in group]
    within_several = bool(folders) and all(runs_of(folder) is not None for folder in folders)
    result = compare_by_ball(grouped) if within_several else run(grouped)
    if out is not None:
        texts = {"md": result.to_markdown(), "tex": result.to_latex(), "csv": result.to_csv()}
        for suffix, text in texts.items():
            write_atomically(out / f"compare.{suffix}", text.encode())
        write_json(out / "compare.json", result.to_json())
        write_atomically(out / "examples.csv", _csv(result.examples()))
    printed = {
        "text": lambda: str(result),
        "markdown": result.to_markdown,
        "latex": result.to_latex,
        "csv": result.to_csv,
        "json": lambda: json.dumps(result.to_json(), indent=2, allow_nan=False),
    }
    return Output(printed[table]().rstrip("\n"))


def _grouped(runs: tuple[str, ...]) -> "list[str] | dict[str, list[str]]":
    """Return folders as they are; where one is NAME=FOLDER,..., all by name."""
    if not any("=" in run for run in runs):
        return list(runs)
    found: dict[str, list[str]] = {}
    for run in runs:
        name, equals, folders = run.partition("=")
        if not equals or not name or not folders:
            raise InputError(f"'{run}' is no NAME=FOLDER,FOLDER,...; give all runs in that form, or all as folders.")
        if name in found:
            raise InputError(f"{name} was given twice; write its folders in one: {name}=FOLDER,FOLDER,...")
        found[name] = folders.split(",")
    return found


def _csv(table: "object") -> bytes:
    import io

    from pyarrow import csv

    sink = io.BytesIO()
    csv.write_csv(table, sink)
    return sink.getvalue()
