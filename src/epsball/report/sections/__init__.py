"""The sections of a page, one file each."""

from epsball.auditing.comparing import Comparison
from epsball.auditing.reading import Summary
from epsball.report.sections.certificates import certificates
from epsball.report.sections.change import change
from epsball.report.sections.classes import classes
from epsball.report.sections.landscape import landscape
from epsball.report.sections.limit import limit
from epsball.report.sections.radius import radius
from epsball.report.sections.risk import risk
from epsball.report.sections.section import Section
from epsball.report.sections.similarity import similarity
from epsball.report.sections.trust import trust

_OF_A_RUN = (risk, classes, trust, landscape, certificates, limit, similarity)


def sections(summary: Summary, before: Summary | None, compared: Comparison | None) -> list[Section]:
    """Return the sections in their order; of two runs first what changed."""
    first = [] if before is None or compared is None else [change(before, compared)]
    return [*first, radius(summary, before), *(make(summary) for make in _OF_A_RUN)]
