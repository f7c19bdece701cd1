"""``--workers`` and ``--ray``: how the commands share their work, and how a worker loads what it works on."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from epsball.cli.common import Common, load_subject

if TYPE_CHECKING:
    from epsball.workers import Workers


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Processes that share the work.

    Parameters
    ----------
    workers
        Processes that share the work; what is found is the same for any number of them.
    threads
        CPU threads of each worker.
    ray
        Let the workers run on a Ray cluster: its address, auto, or local.
    gpus
        With --ray: GPUs per worker; .5 lets two share one.
    """

    workers: int | None = None
    threads: int = 1
    ray: Annotated[str | None, Parameter(name="--ray")] = None
    gpus: float = 0.0

    def workers_for(
        self, model: str, data: str, ball: str, common: Common, *, stochastic: bool = False
    ) -> "Workers | None":
        """Return the workers, each of which loads what the texts name; None where the work is not shared."""
        return self.with_source(TextSubject(model, data, ball, common, stochastic))

    def with_source(self, source: Any) -> "Workers | None":
        """Return the workers, each of which calls `source` with its number; None where the work is not shared."""
        from epsball.workers import Workers

        if self.workers is None and self.ray is None:
            return None
        return Workers(
            count=1 if self.workers is None else self.workers,
            threads=self.threads,
            ray=self.ray,
            gpus=self.gpus,
            source=source,
        )


@dataclass(frozen=True)
class TextSubject:
    """What a command is about, by its texts: a worker loads it anew."""

    model: str
    data: str
    ball: str
    common: Common
    stochastic: bool

    def __call__(self, number: int) -> tuple[Any, Any, Any]:
        """Return classifier, data and ball; of several GPUs, workers take one each in turn."""
        common = on_its_device(self.common, number)
        subject = load_subject(self.model, self.data, self.ball, common, stochastic=self.stochastic)
        return subject.classifier, subject.dataset, subject.ball


def on_its_device(common: Common, number: int) -> Common:
    """Return the options of the worker of this number: where the device is left open, one of the GPUs in turn."""
    import torch

    if common.device != "auto" or not torch.cuda.is_available():
        return common
    return dataclasses.replace(common, device=f"cuda:{(number - 1) % torch.cuda.device_count()}")
