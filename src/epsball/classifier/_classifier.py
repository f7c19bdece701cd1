"""`Classifier`: a PyTorch module with its box and normalisation, as a map from inputs to logits."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from epsball.checks import check_count
from epsball.classifier import guards
from epsball.classifier.normalise import Normalise, Statistics
from epsball.deployed_state import DeployedState
from epsball.errors import InputError, ModelError, NoGradientError
from epsball.module_state import untouched
from epsball.pixels import from_8bit
from epsball.plain import plain, plain_module

BLOCK = 512
"""Examples that `Classifier.logits` passes through the model at once."""


@dataclass
class Passes:
    """Numbers of examples passed forward through a model, and backward to its input.

    Examples
    --------
    >>> Passes(forward=30, backward=10) - Passes(forward=10)
    Passes(forward=20, backward=10)
    """

    forward: int = 0
    backward: int = 0

    def __sub__(self, other: "Passes") -> "Passes":
        return Passes(self.forward - other.forward, self.backward - other.backward)

    def copy(self) -> "Passes":
        """Return the counts as they are now."""
        return Passes(self.forward, self.backward)


class Classifier:
    """A model that takes inputs in a box and returns logits (n, classes).

    The caller's module is never changed: while in use it runs in evaluation mode with frozen
    parameters, and its modes, flags, state and the global generators are restored afterwards,
    also after an exception. State that passes change (buffers, attributes) is put back before
    each of them: what is judged is the module as it was given. A module made under
    ``torch.inference_mode``, through which no gradient passes, is copied.

    Parameters
    ----------
    module
        Maps (n, *shape), normalised by `mean` and `std`, to logits (n, classes).
    mean, std
        Normalisation in the units of the box, one number or one per channel; without both, the
        module sees the input as it is. If only one is given, the other is mean 0 or std 1.
    low, high
        The box of inputs; None for both means no box.
    stochastic
        Whether the module draws random numbers. Then a witness is judged by the mean softmax
        over `repetitions` passes.
    repetitions
        Passes over which a stochastic module is judged.
    rejects
        Whether the module's last logit means rejection, as in a detector: an input for which it is
        the largest is rejected, which counts as handled correctly whatever the label.
    outputs
        ``"logits"``: the caller vouches that the outputs are logits, even if they look like probabilities.
    deterministic
        The caller vouches that the module draws no random numbers, even if two calls differ.
    batch
        ``"independent"``: the caller vouches that no row's logits depend on the others, even if they change.

    Attributes
    ----------
    network
        The module behind its `Normalise` layer: maps raw inputs to logits.
    overruled
        The checks that the caller overruled, in words: ``("outputs=logits",)``. Runs record them.
    passes
        Counts of the examples passed forward and backward so far.

    Raises
    ------
    ModelError
        If `module` is not a `torch.nn.Module`.
    InputError
        If the box or the normalisation is not valid.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> classifier = Classifier(nn.Flatten(), mean=0.5, std=0.25)
    >>> classifier(torch.tensor([[0.5, 1.0]]))
    tensor([[0., 2.]])
    >>> classifier.passes
    Passes(forward=1, backward=0)
    """

    def __init__(
        self,
        module: nn.Module,
        mean: Statistics | None = None,
        std: Statistics | None = None,
        low: float | None = 0.0,
        high: float | None = 1.0,
        stochastic: bool = False,
        repetitions: int = 20,
        rejects: bool = False,
        outputs: Literal["logits"] | None = None,
        deterministic: bool = False,
        batch: Literal["independent"] | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise ModelError(
                f"the model is a {type(module).__name__}; a Classifier takes a torch.nn.Module. "
                "Wrap a function in a Module whose forward calls it."
            )
        if any(is_lazy(tensor) for tensor in _tensors(module)):
            raise ModelError("the model has lazy layers that have no weights yet; run it once on an input first.")
        if (low is None) != (high is None) or (low is not None and high is not None and not low < high):
            raise InputError(f"the box is [{low}, {high}]; give low < high, or None for both.")
        check_count("repetitions", repetitions, unit="passes")
        self.module = plain_module(module)
        with torch.inference_mode(False):
            self.network = _behind_normalisation(self.module, mean, std)
        self.low, self.high = low, high
        self.stochastic, self.repetitions, self.rejects = stochastic, repetitions, rejects
        self.overruled = _overruled(outputs, deterministic, batch)
        if stochastic and deterministic:
            raise InputError("stochastic and deterministic are both True; leave one of them out.")
        self.passes = Passes()
        self._state: DeployedState | None = None
        self._moving_parameters: frozenset[str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process gets: nothing of a use that is under way in this one."""
        return {**self.__dict__, "_state": None}

    @property
    def device(self) -> torch.device:
        """The device of the module's tensors (the CPU if it has none)."""
        return next((tensor.device for tensor in _tensors(self.module)), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating dtype of the module's tensors (float32 if it has none)."""
        return next((t.dtype for t in _tensors(self.module) if t.is_floating_point()), torch.float32)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Evaluate with frozen parameters inside the block and leave no trace after it."""
        with untouched(self.network, self._moving_parameters) as state:
            outer = self._state
            self._state = outer or state
            try:
                yield
            finally:
                self._moving_parameters = self._state.moving_parameters
                self._state = outer

    @property
    def moves(self) -> tuple[str, ...]:
        """Names of the state that passes have changed so far inside `in_use`."""
        return () if self._state is None else tuple(self._state.moves)

    def restore(self) -> None:
        """Put the module back into its state at the beginning of `in_use`.

        Raises
        ------
        ModelError
            If it changed something that cannot be put back.
        """
        if self._state is not None:
            self._state.restore()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits under the caller's grad mode and count the passes; for use inside `in_use`.

        The module's output is returned as it is; `check` says whether it is logits.
        """
        return self.run(self.network, x)

    def run(
        self,
        network: nn.Module,
        x: Tensor,
        layout: torch.memory_format = torch.contiguous_format,
        copied: DeployedState | None = None,
    ) -> Tensor:
        """Return the output of `network`, this classifier's or a copy of it, and count the passes.

        The network gets a copy of the input, in `layout`: in-place operations change nothing outside.
        Where passes are known to change the network's state (of a copy: `copied`), it is put back first;
        a stochastic model's is left to go on, since its draws may come from there.

        Raises
        ------
        ModelError
            If the network fails on the input.
        """
        self.passes.forward += len(x)
        state = self._state if network is self.network else copied
        if state is not None and not self.stochastic:
            state.before_pass()
        try:
            output = network(x.clone(memory_format=layout))
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError, NotImplementedError) as error:
            raise ModelError(guards.explain_failure(x, error)) from error
        if state is not None:
            state.after_pass()
        return output

    def gradient(
        self, output: Tensor, x: Float[Tensor, "n *shape"], beside: Tensor | None = None, *, keep: bool = False
    ) -> Tensor:
        """Return d sum(output) / dx and count the passes.

        Parameters
        ----------
        output
            Per-example values computed from ``forward(x)``, x requiring a gradient.
        x
            The leaf input.
        beside
            Another leaf of the same values, for the part of `output` that does not go through the model; its
            gradient is added.
        keep
            Whether to keep the graph for another backward pass.

        Raises
        ------
        NoGradientError
            If no gradient reaches the input.
        """
        self.passes.backward += len(x)
        gradient, rest = None, ()
        if output.requires_grad:
            leaves = (x,) if beside is None else (x, beside)
            gradient, *rest = torch.autograd.grad(output.sum(), leaves, retain_graph=keep, allow_unused=True)
        if gradient is None:
            raise NoGradientError(
                "no gradient reaches the input: the model detaches it, runs under no_grad or is not "
                "differentiable. Use a gradient-free attack, or a surrogate for the part that cuts the gradient."
            )
        return sum((part for part in rest if part is not None), gradient)

    def effective_logits(
        self, logits: Float[Tensor, "n columns"], y: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n classes"]:
        """Return the logits of the classes, by which an example is handled correctly or not.

        If the model may reject, z_y becomes max(z_y, z_reject): a margin of 0 or less then means
        neither classified correctly nor rejected.
        """
        if not self.rejects:
            return logits
        z, rejection = logits[:, :-1], logits[:, -1:]
        return z.scatter(1, y[:, None], torch.maximum(z.gather(1, y[:, None]), rejection))

    handled = effective_logits  # old name, until 0.3

    def logits(self, x: Float[Tensor, "n *shape"] | UInt8[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the logits of raw inputs, in evaluation mode and without a gradient, block by block."""
        with self.in_use(), torch.no_grad():
            # A copy: a model may return the same buffer again.
            return torch.cat([self.forward(self.to_model(block)).to(x.device, copy=True) for block in x.split(BLOCK)])

    __call__ = logits

    def pixels(self, x: Tensor) -> Tensor:
        """Return `x` as models take it: uint8 as k/255 if the box is [0, 1], laid out like ``torch.rand`` of its shape.

        What is not a tensor comes back as it is; `check` explains it.
        """
        if not isinstance(x, Tensor):
            return x
        return plain(from_8bit(x) if x.dtype == torch.uint8 and (self.low, self.high) == (0.0, 1.0) else x)

    def to_model(self, x: Tensor) -> Tensor:
        """Return `x` as `pixels` does, on the device and in the dtype of the module.

        Raises
        ------
        InputError
            If the dtype cannot hold the values exactly: the centre of the ball would move.
        """
        x = self.pixels(x)
        moved = x.to(self.device, self.dtype)
        if self.dtype not in (torch.float32, torch.float64):
            raise ModelError(
                f"the model is {self.dtype}; verdicts are given in float32 or float64. Use module.float()."
            )
        if x.dtype.itemsize > self.dtype.itemsize and not torch.equal(moved.to(x), x):
            raise InputError(
                f"x is {x.dtype} and the model {self.dtype}, which cannot hold these values: the centre of the "
                f"ball would move. Round x yourself, x.to({self.dtype}), or convert the model to {x.dtype}."
            )
        return moved

    adopt = to_model  # old name, until 0.3

    def check(self, x: Tensor, y: Tensor) -> int:
        """Check the inputs, the labels and the model's behaviour on a few of them.

        Parameters
        ----------
        x
            Inputs (n, *shape) in the box, or uint8 pixels where that is [0, 1].
        y
            Labels (n,), integers from 0.

        Returns
        -------
        int
            The number of classes.

        Raises
        ------
        InputError, ModelError
            Naming the value seen, the rule and the fix.
        """
        x = self.pixels(x)
        guards.check_inputs(x, self.low, self.high)
        guards.check_labels(y, len(x))
        with self.in_use(), torch.no_grad():
            classes = self.probe(self.to_model(x))
        guards.check_label_range(y, classes)
        return classes

    def probe(self, x: Tensor) -> int:
        """Check the model's behaviour on a few inputs on its device; return the number of classes. For use in `in_use`.

        Raises
        ------
        ModelError
            Naming what was seen, the rule and the fix.
        """
        columns = guards.check_model(
            self.forward, x, stochastic=self.stochastic, low=self.low, high=self.high, overruled=self.overruled
        )
        classes = columns - self.rejects
        if classes < 2:
            raise ModelError(f"the model has {columns} logits, the last for rejection; it needs two classes beside it.")
        return classes

    def fingerprint(self) -> str:
        """Return a sha256 of the network's printed structure and of every parameter and buffer.

        The code of ``forward`` is not covered: two modules that print alike and hold the same
        tensors have the same fingerprint.
        """
        digest = hashlib.sha256(str(self.network).encode())
        for name, tensor in (*self.network.named_parameters(), *self.network.named_buffers()):
            dense = tensor.detach().cpu().to_dense() if tensor.layout != torch.strided else tensor.detach().cpu()
            digest.update(f"{name}:{dense.dtype}:{tuple(dense.shape)}".encode())
            digest.update(dense.contiguous().view(-1).view(torch.uint8).numpy().data)
        return f"sha256:{digest.hexdigest()}"

    def __repr__(self) -> str:
        name = type(self.module).__name__
        more = "".join(f", {words}" for words in self.overruled)
        return f"Classifier({name}, box=[{self.low}, {self.high}], dtype={self.dtype}, device={self.device}{more})"


def _overruled(outputs: object, deterministic: object, batch: object) -> tuple[str, ...]:
    """Return the words of the checks that are overruled."""
    for name, given, only in (("outputs", outputs, "logits"), ("batch", batch, "independent")):
        if given not in (None, only):
            raise InputError(f"{name} is {given!r}; give '{only}', or leave it out for the check.")
    words = {guards.OUTPUTS: outputs, guards.DETERMINISTIC: deterministic, guards.BATCH: batch}
    return tuple(text for text, given in words.items() if given)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _behind_normalisation(module: nn.Module, mean: Statistics | None, std: Statistics | None) -> nn.Module:
    if mean is None and std is None:
        return module
    layer = Normalise(*_paired(mean, std))
    device = next((tensor.device for tensor in _tensors(module)), None)
    return nn.Sequential(layer.to(device), module)


def _paired(mean: Statistics | None, std: Statistics | None) -> tuple[Statistics, Statistics]:
    """Return mean and std, the missing one as zeros or ones of the other's length."""
    if mean is None:
        return torch.zeros_like(torch.as_tensor(std, dtype=torch.float32)), std  # type: ignore[return-value]
    if std is None:
        return mean, torch.ones_like(torch.as_tensor(mean, dtype=torch.float32))
    return mean, std
