"""The landscape, where one lies in the run's folder."""

from dataclasses import replace
from pathlib import Path

from epsball.auditing.reading import Summary
from epsball.report.sections.section import Section
from epsball.report.svg import clean

_SECTION = Section(id="landscape", short="Landscape", title="Landscape", term="landscape")


def landscape(summary: Summary) -> Section:
    """Return the section."""
    folder = summary.reading.folder
    for file in (folder / "landscape.svg", folder / "landscape" / "landscape.svg"):
        drawn = _inline(file)
        if drawn is not None:
            lead = (
                "Slices of the margin along each direction: the model (solid) and what its gradient predicts (dashed)."
            )
            return replace(_SECTION, lead=lead, figure=drawn, wide=True)
    command = f"epsball landscape MODEL DATA --ball {summary.ball} --out {summary.reading.name}/landscape"
    return _SECTION.absent("no landscape lies in the run's folder", command)


def _inline(file: Path) -> str | None:
    try:
        return clean(file.read_text(), "Landscape around examples")
    except (OSError, ValueError):
        return None
