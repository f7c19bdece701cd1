"""What an objective is: per-example losses of a module on a batch."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from epsball.errors import InputError
from epsball.randomness import Keys
from epsball.training.processes import ALONE, Processes


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The losses of a batch.

    Parameters
    ----------
    examples
        One loss per example, (n,): the engine sums them and divides by the global count, so an
        objective never takes a batch mean.
    parts
        Per-example parts to log, detached, each (n,).
    weights
        A term of the weights alone, counted once per step, or None.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> logits, y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    >>> losses = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    >>> eb.training.Losses(examples=losses).examples.shape
    torch.Size([2])
    """

    examples: Float[Tensor, " n"]
    parts: dict[str, Float[Tensor, " n"]] = field(default_factory=dict)
    weights: Tensor | None = None


def require_losses(losses: object, n: int, objective: str) -> Losses:
    """Return the losses that an objective gave for n examples: one per example, with a gradient.

    Raises
    ------
    InputError
        If it is anything else; a batch mean would train with a gradient n times too small.
    """
    if not isinstance(losses, Losses):
        raise InputError(
            f"the objective '{objective}' returned a {type(losses).__name__}; return Losses(examples=...)."
        )
    for name, values in {"losses": losses.examples, **losses.parts}.items():
        if values.shape != (n,):
            raise InputError(
                f"the objective '{objective}' gave {name} of shape {tuple(values.shape)} for {n} examples; give one "
                "per example, (n,), not a mean (reduction='none')."
            )
    if not losses.examples.requires_grad:
        raise InputError(f"the losses of the objective '{objective}' have no gradient; compute them from the module.")
    return losses


@dataclass(kw_only=True)
class Context:
    """What an objective may know of the run.

    Parameters
    ----------
    step
        Number of the optimiser's step, from 0.
    keys
        One key for each example of the batch, of (seed, position in the data set, step).
    positions
        Position of each example in the global batch, (n,), ascending: 0..total-1 over all processes.
        On the CPU, so that choosing examples by them waits for no device.
    total
        Examples of the global batch.
    state
        Whatever the objective keeps between steps: tensors, numbers, texts, and lists and
        dictionaries of them. It is saved with the checkpoint.
    share
        Share of the radius in force, in (0, 1]: below 1 while the radius warms up.
    smoothing
        Label smoothing of the outer cross-entropy.
    processes
        The processes that share the global batch.
    cache
        What an objective derives from the module once per run; not saved, so that a resumed run derives it anew.

    Examples
    --------
    >>> import torch
    >>> from epsball.randomness import Keys
    >>> from epsball.training import Context
    >>> rows = torch.arange(2)
    >>> context = Context(step=0, keys=Keys.of_positions(rows, 0), positions=rows, total=2, state={})
    >>> context.cross_entropy(torch.zeros(2, 4), torch.tensor([1, 3]))
    tensor([1.3863, 1.3863])
    """

    step: int
    keys: Keys
    positions: Int64[Tensor, " n"]
    total: int
    state: dict[str, Any]
    share: float = 1.0
    smoothing: float = 0.0
    processes: Processes = ALONE
    cache: dict[Any, Any] = field(default_factory=dict)

    def part(self, chosen: Bool[Tensor, " n"]) -> "Context":
        """Return the context of the chosen examples of the batch alone; state is shared."""
        return replace(self, keys=self.keys[chosen], positions=self.positions[chosen])

    def count(self, forward: int, backward: int) -> None:
        """Record passes of examples that go through a captured network, not through the module: `plan` prints them."""
        made = self.cache.setdefault("passes", [0, 0])
        made[0], made[1] = made[0] + forward, made[1] + backward

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over all processes."""
        return self.processes.sum(tensors)

    def cross_entropy(self, logits: Float[Tensor, "n classes"], y: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the outer loss -sum_k q_k log softmax(z)_k, q the smoothed label.

        Labels are smoothed over the classes that no logit of -infinity masks.
        """
        masked = logits.detach() == -torch.inf
        if not self.smoothing or not bool(masked.any()):
            return functional.cross_entropy(logits, y, reduction="none", label_smoothing=self.smoothing)
        log_p = logits.log_softmax(1)
        uniform = torch.where(masked, 0.0, log_p).sum(1) / (~masked).sum(1)
        return -(1.0 - self.smoothing) * log_p.gather(1, y[:, None])[:, 0] - self.smoothing * uniform


@runtime_checkable
class Objective(Protocol):
    """A frozen dataclass of options, called once per batch.

    To inherit from this class is not needed: any object with a ``name`` and such a ``__call__``
    is an objective. ``module`` maps raw pixels to logits (it stands behind its `Normalise`), is
    in training mode, and is trained in place.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> class Plain:
    ...     name = "plain"
    ...
    ...     def __call__(self, module, x, y, context):
    ...         return eb.training.Losses(examples=context.cross_entropy(module(x), y))
    >>> isinstance(Plain(), eb.training.Objective)
    True
    """

    name: ClassVar[str]
    """The name under which it is registered and recorded."""

    @abstractmethod
    def __call__(
        self, module: nn.Module, x: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"], context: Context
    ) -> Losses:
        """Return the losses of the batch, with gradients in the module's parameters."""
        ...


@runtime_checkable
class Replaying(Objective, Protocol):
    """An objective that trains on each batch several times in a row, as `Free`.

    Examples
    --------
    >>> import epsball as eb
    >>> isinstance(eb.training.Free(ball=eb.Ball("linf", 0.1)), eb.training.Replaying)
    True
    """

    replays: int
    """Steps in a row on each batch; 1 for an objective without this attribute."""


@runtime_checkable
class Adversarial(Objective, Protocol):
    """An objective in two parts, inner attack and loss: what `AWP` can wrap.

    A subclass gives `search` and `losses`; called, it returns the losses at the points found.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from typing import ClassVar
    >>> import torch, epsball as eb
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Noise(eb.training.Adversarial):
    ...     name: ClassVar[str] = "noise"
    ...     sigma: float = 0.1
    ...
    ...     def search(self, module, x, y, context):
    ...         return x + self.sigma * context.keys.derive("noise").normal(x.shape[1:], x.dtype)
    ...
    ...     def losses(self, module, x, x_adv, y, context):
    ...         return eb.training.Losses(examples=context.cross_entropy(module(x_adv), y))
    >>> x = torch.linspace(0, 1, 40).view(20, 2)
    >>> recipe = eb.training.Recipe(epochs=2, batch_size=9)
    >>> result = eb.train(torch.nn.Linear(2, 2), (x, (x[:, 0] > 0.5).long()), objective=Noise(), recipe=recipe)
    >>> result.card.training["objective"]
    {'name': 'noise', 'sigma': 0.1}
    """

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the losses at the points that the search finds."""
        return self.losses(module, x, self.search(module, x, y, context), y, context)

    @abstractmethod
    def search(
        self, module: nn.Module, x: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"], context: Context
    ) -> Float[Tensor, "n *shape"]:
        """Return the adversarial points, constants of the outer step."""
        ...

    @abstractmethod
    def losses(
        self,
        module: nn.Module,
        x: Float[Tensor, "n *shape"],
        x_adv: Float[Tensor, "n *shape"],
        y: Int64[Tensor, " n"],
        context: Context,
    ) -> Losses:
        """Return the losses of the examples and their adversarial points."""
        ...
