"""What an objective is: per-example losses of a module on a batch."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor, nn

from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """The losses of one batch.

    Parameters
    ----------
    examples
        One loss an example, (n,): the engine sums them and divides by the global count, so an
        objective never takes a batch mean.
    parts
        Per-example parts to log, detached, each (n,).
    weights
        A term of the weights alone, counted once a step, or None.
    """

    examples: Float[Tensor, " n"]
    parts: dict[str, Float[Tensor, " n"]] = field(default_factory=dict)
    weights: Tensor | None = None


@dataclass(kw_only=True)
class Context:
    """What an objective may know of the run.

    Parameters
    ----------
    step
        Number of the optimiser's step, from 0.
    keys
        One key for each example of the batch, of (seed, position in the data set, step).
    state
        Whatever the objective keeps between steps.
    """

    step: int
    keys: Keys
    state: dict[str, Any]


@runtime_checkable
class Objective(Protocol):
    """A frozen dataclass of options, called once a batch.

    ``module`` maps raw pixels to logits (it stands behind its `Normalise`), is in training
    mode, and is trained in place.
    """

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        ...

    def __call__(
        self, module: nn.Module, x: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"], context: Context
    ) -> Losses:
        """Return the losses of the batch, with gradients in the module's parameters."""
        ...
