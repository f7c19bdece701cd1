"""An audit whose arguments are checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from epsball.attacks import Ledger
from epsball.auditing.folder import RunFolder
from epsball.auditing.link import Link
from epsball.auditing.parts import Parts
from epsball.auditing.subject import Subject


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What is audited, by which links, and where it is written.

    Parameters
    ----------
    subject, links
        What it is about, and the links of its chain in their order.
    guards
        Passes that the checks made.
    folder
        Where it is written, or None.
    shard
        Examples audited and written as one piece.
    keep
        Whether certificates are kept as files.
    uncertified, undiagnosed
        Why there are no certificates, and no diagnosis, where there are none.
    notes
        What the audit leaves out besides, and why.
    """

    subject: Subject
    links: Sequence[Link]
    guards: Ledger
    folder: RunFolder | None
    shard: int
    uncertified: str | None
    undiagnosed: str | None
    keep: bool = True
    notes: Sequence[str] = ()

    @property
    def numbers(self) -> range:
        """The numbers of the shards; which examples are in which depends on nothing but the data and their size."""
        return range(-(-len(self.subject.dataset) // self.shard))

    def rows(self, number: int) -> slice:
        """Return the examples of a shard."""
        start = number * self.shard
        return slice(start, min(start + self.shard, len(self.subject.dataset)))

    def parts(self, number: int) -> Parts:
        """Return the parts of a shard."""
        # A stochastic model draws on from batch to batch, so a run that resumes begins the shard again.
        if self.folder is None or self.subject.classifier.stochastic:
            return Parts(None)
        return Parts(self.folder.parts(number))
