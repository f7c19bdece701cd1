"""`SurrogateGradients`: a network's own values, with gradients where its operations have none."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from epsball.attacks.adaptive.bpda import Grafted
from epsball.attacks.adaptive.custom_functions import custom_nodes, inside_custom_function, straight_through
from epsball.attacks.adaptive.operations import (
    fills_by_mask,
    in_place,
    out_of_place,
    replayed,
    spoken,
    tensors,
    without_underscore,
)
from epsball.attacks.adaptive.shadows import Shadows, differentiating, near
from epsball.attacks.adaptive.surrogates.call import AS_IT_IS, Call, Shadow
from epsball.attacks.adaptive.surrogates.table import (
    CUTS,
    DIFFERENTIABLE,
    LEAVING,
    NO_VALUES,
    RANDOM,
    SURROGATES,
    name_of,
)

_LAYERS = frozenset({"conv1d", "conv2d", "conv3d", "linear", "matmul", "__matmul__", "batch_norm", "sub", "__sub__"})
_ALIKE = 0.5
"""Correlation from which a tensor of the input's shape is taken for the input, changed."""


class SurrogateGradients(TorchFunctionMode):
    """Inside the block, what has no gradient passes one: straight through, or that of a smooth stand-in.

    Rounding, comparisons, masks, choices of the largest, table look-ups, quantisation, saturated activations,
    and what ``detach``, ``.data`` and ``no_grad`` cut. Values are bit for bit what they are outside. A tensor that
    can carry no gradient (integers, truth values, what is detached) has a `Shadow` that does; operations on it
    run twice, exactly and on the shadow. Where code leaves torch (NumPy, PIL) and comes back with an image of the
    input's shape that resembles it, that passes straight through too.

    A custom ``autograd.Function`` is differentiated through what its forward does, whatever its backward says;
    TorchScript keeps the gradient it has.

    Parameters
    ----------
    trusting
        Whether custom functions keep their own backward.

    Attributes
    ----------
    replaced
        Names of the operations that got a surrogate.
    missed
        Names of the operations on the input that have neither a gradient nor a surrogate.
    custom
        Whether a custom function ran.

    References
    ----------
    Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018, section 4.1
    (backward pass differentiable approximation).

    Examples
    --------
    >>> import torch
    >>> from epsball.attacks.adaptive.surrogate_gradients import SurrogateGradients
    >>> x = torch.tensor([0.4, 1.7], requires_grad=True)
    >>> with SurrogateGradients():
    ...     y = 2 * x.detach().round()
    >>> y, torch.autograd.grad(y.sum(), x)
    (tensor([0., 4.], grad_fn=<MulBackward0>), (tensor([2., 2.]),))
    """

    def __init__(self, *, trusting: bool = False) -> None:
        super().__init__()
        self.trusting = trusting
        self.replaced: dict[str, None] = {}
        self.missed: dict[str, None] = {}
        self.custom = False
        self._shadows = Shadows()
        self._origin: Tensor | None = None
        self._own_leaves = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation."""
        kwargs = kwargs or {}
        name = name_of(func)
        if self._origin is None and name == "clone" and args[0].requires_grad:
            self._origin = func(*args, **kwargs)
            return self._origin
        if name in NO_VALUES or not self._shadows.live(args, kwargs):
            self._shadows.forget(name, args)
            if name not in _LAYERS or not self._reconnect(args):
                return func(*args, **kwargs)
        if self._is_left_alone(name, func, args):
            return func(*args, **kwargs)
        if name in LEAVING:
            self.missed[spoken(name)] = None
            return func(*(a.detach() if isinstance(a, Tensor) else a for a in args), **kwargs)
        if name in ("register_hook", "retain_grad", "register_post_accumulate_grad_hook"):
            self.replaced["gradient hooks"] = None
            return args[0].detach().clone().requires_grad_().register_hook(lambda g: None)
        if name in CUTS:
            return self._kept(name, func, args)
        return self._run(name, func, args, kwargs)

    def _is_left_alone(self, name: str, func: Any, args: tuple[Any, ...]) -> bool:
        """Return whether an operation runs as it is, though it sees tensors that depend on the input."""
        if name in ("requires_grad_", "requires_grad.__set__", "grad", "backward"):
            self._own_leaves = True
            return True
        if name.endswith(".__set__") or (name.endswith(".__get__") and name != "data.__get__"):
            return name not in ("T.__get__", "mT.__get__", "H.__get__", "mH.__get__", "real.__get__", "imag.__get__")
        if torch.is_grad_enabled() or not inside_custom_function():
            return False
        self.custom = True
        return self.trusting

    # What carries a gradient ------------------------------------------------------------------------------

    def attached(self, output: Tensor) -> Tensor:
        """Return the network's output with the gradient of its stand-in; call it at the end of the block.

        Custom functions that are still in the graph, those that return their input or leave torch, pass the
        gradient straight through where its shape allows that.
        """
        shadow = self._shadows.of(output)
        if shadow is not None and output.is_floating_point():
            with torch._C.DisableTorchFunction(), differentiating():
                output = Grafted.apply(output.detach(), shadow.value.to(output.dtype))
        for node in custom_nodes(output.grad_fn):
            self.custom = True
            if not self.trusting:
                node.register_hook(straight_through)
        return output

    # Operations -----------------------------------------------------------------------------------------------

    def _kept(self, name: str, func: Any, args: tuple[Any, ...]) -> Any:
        """Run what cuts the gradient, and hold the stand-in of what it returns."""
        shadow = self._shadows.of(args[0])
        with differentiating():
            whole = shadow.value if shadow else args[0].clone()
        exact = func(*args)
        self.replaced[spoken(name)] = None
        if exact.is_floating_point() or shadow is not None:
            self._shadows.put(exact, shadow or Shadow(value=whole))
        return exact

    def _run(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = kwargs.get("out")
        if out is not None:
            return self._into(name, func, args, kwargs, out)
        writes = in_place(name, kwargs)
        base = without_underscore(name) if writes else name
        recording = torch.is_grad_enabled()
        plain = recording and not any(t in self._shadows for t in tensors((args, kwargs)))
        if plain and (base not in SURROGATES or (base in DIFFERENTIABLE and not writes)):
            return self._natural(base, func, args, kwargs)
        if writes:
            return self._written(base, func, args, kwargs)
        return self._returned(base, func, args, kwargs)

    def _natural(self, base: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation that passes gradients by itself, unless it turns out to need a surrogate."""
        result = func(*args, **kwargs)
        if not isinstance(result, Tensor):
            return result
        if base in SURROGATES:
            smooth = self._stand_in(base, func, args, kwargs, result.detach(), default=False)
            if smooth is not AS_IT_IS:
                return self._combined(base, result.detach(), smooth, graft=not self._own_leaves)
        if not result.requires_grad and result.numel() > 1:
            self.missed[base] = None
        return result

    def _returned(self, base: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation that returns something new, exactly and on stand-ins."""
        state = torch.get_rng_state() if base in RANDOM else None
        graft = torch.is_grad_enabled() and not self._own_leaves
        if graft:
            with torch.no_grad():
                exact = func(*args, **kwargs)
        else:
            exact = func(*args, **kwargs)
        if any(exact is value for value in args):
            return exact
        with replayed(state):
            smooth = self._stand_in(base, func, args, kwargs, exact)
        return self._combined(base, exact, smooth, graft=graft)

    def _stand_in(
        self, base: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], exact: Any, *, default: bool = True
    ) -> Any:
        """Return the result on stand-ins, or None; with `default` an operation needs no surrogate to have one."""
        surrogate = SURROGATES.get(base)
        with differentiating():
            effective, named = self._shadows.effective(args), self._shadows.effective(kwargs)
            call = Call(
                run=func,
                args=effective,
                kwargs=named,
                given=args,
                exact=exact,
                shadow=self._shadows.of,
                dtype=self._floating_dtype((effective, named)),
            )
            try:
                smooth = AS_IT_IS if surrogate is None else surrogate(call)
                if smooth is not AS_IT_IS:
                    self.replaced[spoken(base)] = None
                    return smooth
                return func(*effective, **named) if default else smooth
            except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError):
                return None

    def _floating_dtype(self, effective: Any) -> torch.dtype:
        return next(
            (t.dtype for t in tensors(effective) if t.is_floating_point() and t.requires_grad),
            torch.get_default_dtype(),
        )

    def _combined(self, base: str, exact: Any, smooth: Any, *, graft: bool) -> Any:
        """Return the exact result, with the gradient of the smooth one."""
        if not isinstance(exact, Tensor):
            if isinstance(exact, list | tuple) and isinstance(smooth, list | tuple) and len(exact) == len(smooth):
                for one, stand_in in zip(exact, smooth, strict=True):
                    if isinstance(one, Tensor):
                        self._combined(base, one, stand_in, graft=False)
            return exact
        if base not in SURROGATES and isinstance(smooth, Tensor) and not near(smooth, exact):
            smooth = None
        if graft and exact.is_floating_point() and isinstance(smooth, Tensor) and not exact._is_view():
            if smooth.requires_grad and smooth.shape == exact.shape:
                with differentiating():
                    return Grafted.apply(exact, smooth.to(exact.dtype))
        elif isinstance(exact, Tensor) and self._keep_differentiably(exact, smooth):
            return exact
        if exact.numel() > 1 and smooth is None:
            self.missed[base] = None
        return exact

    def _keep_differentiably(self, exact: Tensor, smooth: Any) -> bool:
        with differentiating():
            return self._shadows.keep(exact, smooth)

    def _into(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        """Run an operation that writes its result into given tensors."""
        rest = {key: value for key, value in kwargs.items() if key != "out"}
        with torch.no_grad():
            exact = func(*args, **kwargs)
        self._combined(name, exact, self._stand_in(name, func, args, rest, exact), graft=False)
        return exact

    def _written(self, base: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation in place: exactly, then with the gradient of the stand-in."""
        target = args[0]
        with torch.no_grad():
            exact = target.clone()
            result = func(exact, *args[1:], **kwargs)
        smooth = self._stand_in_of_write(base, func, args, kwargs, exact)
        natural = target.requires_grad and torch.is_grad_enabled() and self._shadows.of(target) is None
        if natural and isinstance(smooth, Tensor) and smooth.shape == exact.shape and target.is_floating_point():
            try:
                with differentiating():
                    target.copy_(Grafted.apply(exact, smooth.to(exact.dtype)))
                return target if result is not None else None
            except RuntimeError:
                pass
        with torch.no_grad():
            target.copy_(exact)
        self._shadows.drop(target)
        self._combined(base, target, smooth, graft=False)
        return target if result is not None else None

    def _stand_in_of_write(
        self, base: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], exact: Tensor
    ) -> Any:
        """Return what the target of an operation in place becomes, differentiably."""
        target, rest = args[0], args[1:]
        if base in SURROGATES and base != "__getitem__":
            plain = {key: value for key, value in kwargs.items() if key != "inplace"}
            return self._stand_in(base, out_of_place(func, base), args, plain, exact)
        if base == "__setitem__" and fills_by_mask(*args):
            return self._stand_in("masked_fill", func, args, {}, exact)
        with differentiating():
            try:
                start = self._shadows.effective(target).clone()
                start = (
                    start
                    if start.is_floating_point()
                    else start.to(self._floating_dtype(self._shadows.effective(rest)))
                )
                func(start, *self._indices_kept(base, rest), **self._shadows.effective(kwargs))
                return start
            except (RuntimeError, TypeError, ValueError, IndexError):
                return None

    def _indices_kept(self, base: str, rest: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return arguments with stand-ins, but for those that are positions."""
        if base == "__setitem__":
            return rest[0], self._shadows.effective(rest[1])
        return tuple(
            value
            if isinstance(value, Tensor)
            and value.dtype in (torch.int64, torch.bool)
            and base.startswith(("index", "scatter", "masked"))
            else self._shadows.effective(value)
            for value in rest
        )

    # Code outside torch -----------------------------------------------------------------------------------------

    def _reconnect(self, args: tuple[Any, ...]) -> bool:
        """Pass the gradient straight through from a tensor that resembles the input to the input."""
        x, origin = args[0] if args else None, self._origin
        if origin is None or not isinstance(x, Tensor) or isinstance(x, nn.Parameter):
            return False
        if x.shape != origin.shape or not x.is_floating_point() or len(x) == 0:
            return False
        a, b = (v.detach().double().flatten(1) for v in (origin, x))
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
        alike = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-12)
        if not bool((alike > _ALIKE).all()):
            return False
        slope = ((a * b).sum(1) / a.square().sum(1).clamp(min=1e-12)).view(-1, *[1] * (x.ndim - 1))
        with differentiating():
            kept = self._shadows.keep(x, origin * slope.to(origin.dtype))
        self.replaced["code outside torch"] = None
        return kept


@contextmanager
def surrogate_gradients(network: nn.Module, *, trusting: bool = False) -> Iterator[SurrogateGradients]:
    """Run a network with `SurrogateGradients`: no compiled code, none of its hooks on gradients.

    Parameters
    ----------
    network
        The network that runs in the block.
    trusting
        As for `SurrogateGradients`.
    """
    registers = [
        register
        for part in network.modules()
        for name in ("_backward_hooks", "_backward_pre_hooks")
        if (register := vars(part).get(name))
    ]
    held = [dict(register) for register in registers]
    mode = SurrogateGradients(trusting=trusting)
    with ExitStack() as stack:
        stance = getattr(torch.compiler, "set_stance", None)
        if stance is not None:
            stack.enter_context(stance("force_eager"))
        for register in registers:
            register.clear()
            mode.replaced["gradient hooks"] = None
        try:
            with mode:
                yield mode
        finally:
            for register, hooks in zip(registers, held, strict=True):
                register.update(hooks)
