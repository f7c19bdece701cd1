"""When a shard was audited, where and in how many tries: kept beside the evidence, outside hash and comparison."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

import torch

from epsball.auditing.folder import RunFolder
from epsball.results import arrow_table


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What audits a shard.

    Parameters
    ----------
    name
        ``"this process"``, ``"processes"`` or ``"ray"``.
    tries
        The number of this try.
    """

    name: str = "this process"
    tries: int = 1


@contextmanager
def timed(folder: RunFolder | None, number: int, engine: Engine) -> Iterator[None]:
    """Write the times of what the block does with a shard; nothing where it fails or there is no folder."""
    begun, clock = datetime.now(UTC), monotonic()
    yield
    if folder is None:
        return
    columns = {
        "shard": torch.tensor([number]),
        "begun": [begun.isoformat(timespec="seconds")],
        "ended": [datetime.now(UTC).isoformat(timespec="seconds")],
        "seconds": torch.tensor([monotonic() - clock], dtype=torch.float64),
        "host": [socket.gethostname()],
        "process": torch.tensor([os.getpid()]),
        "threads": torch.tensor([torch.get_num_threads()]),
        "engine": [engine.name],
        "tries": torch.tensor([engine.tries]),
    }
    folder.write_table(f"timing-{number:05d}.arrow", arrow_table(columns))
