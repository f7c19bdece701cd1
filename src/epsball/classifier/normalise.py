"""Input normalisation as one layer, the same for training, attacks, capture and export."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.errors import InputError

Statistics = float | Sequence[float] | Tensor


class Normalise(nn.Module):
    """(x - mean) / std per channel, with float32 buffers.

    Parameters
    ----------
    mean, std
        One number, or one per entry of the second axis of the input (channels of an image,
        coordinates of a vector), in the units of the box.

    Raises
    ------
    InputError
        If the lengths differ, a value is not finite, or a std is not positive.

    Examples
    --------
    >>> import torch
    >>> Normalise(mean=[0.5, 0.0], std=[0.25, 1.0])(torch.tensor([[1.0, 1.0]]))
    tensor([[2., 1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Statistics, std: Statistics) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            vector = torch.as_tensor(value, dtype=torch.float32).detach().clone().reshape(-1)
            if not torch.isfinite(vector).all() or vector.numel() == 0:
                raise InputError(f"{name} is {value}; give finite numbers, one or one per channel.")
            self.register_buffer(name, vector)
        if len(self.mean) != len(self.std):
            raise InputError(f"mean has {len(self.mean)} values and std {len(self.std)}; give one of each per channel.")
        if not (self.std > 0).all():
            raise InputError(f"std is {std}; every value must be positive.")

    def forward(self, x: Float[Tensor, "n channels *rest"]) -> Float[Tensor, "n channels *rest"]:
        """Return the normalised input in the dtype of `x`."""
        if len(self.mean) not in (1, x.shape[1]):
            raise InputError(
                f"mean and std have {len(self.mean)} values, the input {tuple(x.shape)} has {x.shape[1]} "
                "channels; give one value or one per channel (channels first)."
            )
        trailing = (1,) * (x.ndim - 2)
        return ((x - self.mean.view(-1, *trailing)) / self.std.view(-1, *trailing)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return mean and std for the module's text."""
        return f"mean={self.mean.tolist()}, std={self.std.tolist()}"
