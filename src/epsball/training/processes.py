"""The processes that share a training run, and what they exchange."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from epsball.errors import EpsballError

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True, kw_only=True)
class Processes:
    """One of `count` processes, the one numbered `index`, and the device it was given.

    Parameters
    ----------
    index, count
        This process, and how many there are.
    device
        Where its copy of the module lives; None leaves the module where it is.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> eb.training.Processes(index=1, count=2).share(torch.arange(5))
    tensor([1, 3])
    """

    index: int = 0
    count: int = 1
    device: torch.device | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.index == 0

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over all processes, in one exchange per dtype."""
        if self.count == 1:
            return list(tensors)
        sums: dict[int, Tensor] = {}
        # In the order of their first tensor, the same in every process; that of a set is not.
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            chosen = [i for i, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = torch.cat([tensors[i].reshape(-1) for i in chosen])
            torch.distributed.all_reduce(flat)
            parts = flat.split([tensors[i].numel() for i in chosen])
            sums |= {i: part.view(tensors[i].shape) for i, part in zip(chosen, parts, strict=True)}
        return [sums[i] for i in range(len(tensors))]

    def gather(self, item: Any) -> list[Any]:
        """Return the items of all processes, by index."""
        if self.count == 1:
            return [item]
        items: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(items, item)
        return items

    def share(self, rows: Tensor) -> Tensor:
        """Return this process's part of the rows of a global batch: every `count`-th, in order.

        Row i goes to the same process at the same place whatever the batch's size, so that what an
        objective keeps for each place (`Free`'s perturbation) stays with it.
        """
        return rows[self.index :: self.count]

    def equalise(self, module: nn.Module) -> None:
        """Give every process the first one's weights and buffers."""
        if self.count > 1:
            for tensor in (*module.parameters(), *module.buffers()):
                torch.distributed.broadcast(tensor.detach(), src=0)

    def average_buffers(self, module: nn.Module) -> None:
        """Replace the floating buffers (running statistics) by their means over the processes."""
        buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        if self.count > 1 and buffers:
            for buffer, total in zip(buffers, self.sum(buffers), strict=True):
                buffer.copy_(total / self.count)


ALONE = Processes()


def join() -> Processes:
    """Return this process among those that `torchrun` or `accelerate launch` started; `ALONE` if none did.

    Hugging Face accelerate chooses device and backend and opens the connection. It takes the
    CPU where there is no GPU, or ``ACCELERATE_USE_CPU`` is true.

    Raises
    ------
    EpsballError
        If fewer processes found each other than were started.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.training.join().count
    1
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started == 1:
        return ALONE
    from accelerate import PartialState

    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    state = PartialState(cpu=asked or not torch.cuda.is_available())
    if state.num_processes != started:
        raise EpsballError(
            f"{started} processes were started, but each sees {state.num_processes}; is accelerate's state made "
            "elsewhere for one process? Start training before it is."
        )
    return Processes(index=state.process_index, count=state.num_processes, device=state.device)


def warn_of_batch_norm(module: nn.Module, processes: Processes) -> None:
    """Warn that batch norm sees only a process's own part of the batch.

    Warns
    -----
    UserWarning
        If there are several processes and the module has a batch norm that is not synchronised.
    """
    apart = any(isinstance(m, _BATCH_NORM) and not isinstance(m, nn.SyncBatchNorm) for m in module.modules())
    if apart and processes.first and processes.count > 1:
        warnings.warn(
            f"batch norm normalises each process's part of the batch by itself: {processes.count} processes are not "
            "one. On GPUs, torch.nn.SyncBatchNorm.convert_sync_batchnorm(module) joins them.",
            stacklevel=2,
        )
