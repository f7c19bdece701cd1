"""How many workers there are, and what they run on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from epsball.checks import check_count
from epsball.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Processes that share the work of one call.

    What a call finds is the same to the byte for any number of workers, for equal kind of device, dtype, build and
    threads per worker.

    Parameters
    ----------
    count
        How many there are.
    threads
        CPU threads of each.
    ray
        None: processes of this machine. Else the address of a Ray cluster, ``"auto"`` for the one this machine
        belongs to, ``"local"`` for one of its own.
    gpus
        GPUs per worker on a Ray cluster; a fraction lets workers share one.
    source
        How a worker makes the model and the data anew, as ``source(number)``; None: they are sent to it.
    """

    count: int
    threads: int = 1
    ray: str | None = None
    gpus: float = 0.0
    source: Callable[[int], Any] | None = None

    def __post_init__(self) -> None:
        check_count("workers", self.count)
        check_count("threads", self.threads, unit="threads per worker")

    def sent(self, *subject: Any) -> "Sent":
        """Return how a worker gets what it works on, whose first part is the model, or something else."""
        if self.source is None:
            return Sent(source=None, subject=subject)
        known = getattr(subject[0], "fingerprint", None) if subject else None
        return Sent(source=self.source, subject=None, network=None if known is None else known())


@dataclass(frozen=True, kw_only=True, eq=False)
class Sent:
    """How a worker gets what it works on: called with its number, in the worker.

    Parameters
    ----------
    source
        Makes it anew, if there is a source.
    subject
        What was sent; None where there is a source.
    network
        The hash of the model that the source must give; None where it gives none.

    Raises
    ------
    ModelError
        When called, if the source gives another model: its file was changed in between.
    """

    source: Callable[[int], Any] | None
    subject: Any
    network: str | None = None

    def __call__(self, number: int) -> Any:
        """Return what the worker works on."""
        if self.source is None:
            return self.subject
        found = self.source(number)
        if self.network is not None and found[0].fingerprint() != self.network:
            raise ModelError(
                "the model that a worker loaded is not the one that the work began with: its file was changed in "
                "between. Put it back and call again."
            )
        return found


def as_workers(given: int | Workers | None) -> Workers | None:
    """Return workers from their number; None where the work is done in this process.

    Examples
    --------
    >>> as_workers(2).threads
    1
    """
    return Workers(count=given) if isinstance(given, int) else given
