"""Kinds without inputs: the network's input, and constants."""

from dataclasses import dataclass

from torch import Tensor

from epsball.graph.kinds.kind import Parameters


@dataclass(frozen=True, kw_only=True)
class Input:
    """The network's input; its value is given, not computed."""

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the value given for the input."""
        (x,) = values
        return x


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A tensor that does not depend on the input.

    Parameters
    ----------
    parameter
        The name of the tensor, which has the shape of one example.
    """

    parameter: str

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the constant as a batch of one."""
        return parameters[self.parameter].unsqueeze(0)
