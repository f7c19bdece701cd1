"""From what a run adds up to, to the document: templates, style sheet, script, and the policy that names them."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from epsball._version import __version__
from epsball.auditing.comparing import Comparison
from epsball.auditing.reading.examples import columns
from epsball.auditing.reading.headline import headline
from epsball.auditing.reading.pictures import BARS, SIDE
from epsball.auditing.reading.pictures import pictures as pictures_of
from epsball.auditing.reading.selection import RULE, shown_in_pictures
from epsball.auditing.reading.steps import next_steps
from epsball.auditing.reading.summary import Summary
from epsball.auditing.reading.witnesses import changes
from epsball.figures import diverging
from epsball.report import formats
from epsball.report.payload import json_text, pack_columns, pack_pictures
from epsball.report.sections import sections
from epsball.report.terms import TERMS, anchor
from epsball.report.tokens import VERDICT_COLOURS, style_sheet

IN_TABLE = ("index", "change", "before", "verdict", "label", "prediction", "witness", "margin", "by")
"""Columns of the table of examples; the viewer shows the others, too."""


def render(
    summary: Summary,
    *,
    before: Summary | None = None,
    compared: Comparison | None = None,
    pictures: Sequence[int] = (),
) -> str:
    """Return the document about a run; with the run before it, about the difference too."""
    style = style_sheet()
    script = (files("epsball.report") / "static" / "page.js").read_text()
    payload = _payload(summary, before, compared, pictures)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            s=summary,
            before=before,
            compared=compared,
            head=headline(summary),
            steps=next_steps(summary, len(compared.changed[0].newly_broken) if compared else 0),
            sections=sections(summary, before, compared),
            verdicts=list(VERDICT_COLOURS),
            terms=TERMS,
            version=__version__,
            policy=_policy(style, script),
            style=Markup(style),
            script=Markup(script),
            **payload,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("epsball.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "pct": formats.percent,
        "ends": formats.interval,
        "count": formats.count,
        "num": formats.number,
        "x": formats.position,
        "anchor": anchor,
    }
    return environment


def _payload(
    summary: Summary, before: Summary | None, compared: Comparison | None, asked: Sequence[int]
) -> dict[str, Any]:
    """Return the script's data, and how many examples are in pictures."""
    reading = summary.reading
    flipped = [position for changed in compared.changed for position in changed.newly_broken] if compared else []
    wanted = shown_in_pictures(reading, asked, flipped)
    of_run = changes(reading)
    described, content = pack_columns(columns(reading, of_run, None if before is None else before.reading))
    found = pictures_of(reading, wanted)
    shown, pixels = pack_pictures(found)
    meta = {
        "total": summary.total,
        "columns": described,
        "table": _in_table([column["name"] for column in described]),
        "pictures": shown,
        "values": of_run.values,
        "ball": summary.ball,
        "colours": diverging(),
        "command": f"epsball report {reading.address} --pictures ",
    }
    return {
        "meta": Markup(json_text(meta)),
        "columns": Markup(content),
        "pixels": Markup(pixels),
        "pictured": len(shown),
        "rule": RULE,
        "reduced": any(picture.block > 1 for picture in found),
        "side": SIDE,
        "bars": BARS if any(picture.places is not None for picture in found) else None,
        "left_out": len(found) - len(shown),
    }


def _in_table(names: Sequence[str]) -> list[str]:
    """Return the columns of the table; beside those of the run before there is no room for the prediction."""
    return [name for name in IN_TABLE if name in names and not (name == "prediction" and "before" in names)]


def _policy(style: str, script: str) -> str:
    """Return the content security policy: nothing from anywhere, but this style sheet, this script, inline pixels."""
    return f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; base-uri 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
