"""What changed from one run to another: the paired tests of `compare`."""

import re

from epsball.auditing.comparing import Comparison
from epsball.auditing.comparing.result import LEAST, MOST
from epsball.auditing.reading import Summary
from epsball.report.formats import count
from epsball.report.sections.section import Section, Table

_OTHER_END = {LEAST: MOST, MOST: LEAST}
"""The least that the first network is better by is the most that the second one is, with the other sign."""

_HASH = re.compile(r" sha256:[0-9a-f]{64}")
"""What tells nothing to the reader of a sentence."""


def change(before: Summary, compared: Comparison) -> Section:
    """Return the section."""
    rows = [
        [
            _OTHER_END.get(d.place, d.place),
            _signed(-d.value),
            f"[{_signed(-d.interval.high)}, {_signed(-d.interval.low)}]",
            count(d.discordance.only_a),
            count(d.discordance.only_b),
            f"{d.adjusted:.3g}",
            d.better or "not decided",
        ]
        for d in sorted(compared.differences, key=lambda d: d.place == LEAST)
    ]
    first, second = (run.name for run in compared.runs)
    header = ("place", "points", "95% interval", f"only {first}", f"only {second}", "p (Holm)", "better")
    changed = compared.changed[0]
    lead = (
        f"From {first} to {second}: {len(changed.newly_broken):,} examples that stood no longer do, "
        f"{len(changed.newly_certified):,} are newly certified."
    )
    return Section(
        id="change",
        short="Change",
        title="What changed",
        term="McNemar's test",
        lead=lead,
        table=Table(caption=f"{second} minus {first}, on the same examples", header=header, rows=rows),
        template="change.html.j2",
        more={"changed": changed, "notes": [_HASH.sub("", note) for note in compared.notes], "before": before},
    )


def _signed(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text
