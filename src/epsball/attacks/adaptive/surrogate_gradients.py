"""`SurrogateGradients`: a network's own values, with gradients where its operations have none."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from epsball.attacks.adaptive.bpda import Grafted
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

_TOLERANCE = 1e-2
"""A stand-in whose values differ by more than this share of the largest one is not one."""

_IN_PLACE = frozenset(
    f"__i{name}__"
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "and", "or", "xor", "lshift", "rshift", "pow")
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
        self._shadows: dict[int, tuple[Tensor, Shadow]] = {}
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
        if name in NO_VALUES or not self._live(args, kwargs):
            self._forget(name, args)
            if name not in _LAYERS or not self._reconnect(args):
                return func(*args, **kwargs)
        if self._is_left_alone(name, func, args):
            return func(*args, **kwargs)
        if name in LEAVING:
            self.missed[_spoken(name)] = None
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
        if torch.is_grad_enabled() or not _inside_custom_function():
            return False
        self.custom = True
        return self.trusting

    # What carries a gradient ------------------------------------------------------------------------------

    def shadow(self, value: object) -> Shadow | None:
        """Return the stand-in of a tensor, if it has one."""
        held = self._shadows.get(id(value))
        return None if held is None else held[1]

    def _live(self, args: Any, kwargs: dict[str, Any]) -> bool:
        return any(t.requires_grad or id(t) in self._shadows for t in _tensors((args, kwargs)))

    def _effective(self, value: Any) -> Any:
        """Return a value with tensors replaced by their stand-ins."""
        if isinstance(value, Tensor):
            held = self._shadows.get(id(value))
            return value if held is None else held[1].value
        if isinstance(value, list | tuple):
            items = [self._effective(item) for item in value]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, dict):
            return {key: self._effective(item) for key, item in value.items()}
        return value

    def _forget(self, name: str, args: tuple[Any, ...]) -> None:
        """Drop the stand-in of a tensor that is overwritten with something else."""
        if name in ("zero_", "fill_", "normal_", "uniform_", "random_") and args:
            self._shadows.pop(id(args[0]), None)

    def _keep(self, exact: Tensor, smooth: Any) -> bool:
        """Hold a stand-in of a tensor; return whether it is one."""
        shadow = smooth if isinstance(smooth, Shadow) else Shadow(value=smooth) if isinstance(smooth, Tensor) else None
        if shadow is None or (not shadow.value.requires_grad and shadow.members is None):
            return False
        values = exact.detach().dequantize() if exact.is_quantized else exact.detach()
        value = shadow.value
        if value.shape != values.shape or not value.is_floating_point():
            return False
        grafted = Grafted.apply(values.to(value.dtype), value)
        held = Shadow(value=grafted, members=shadow.members, ranked=shadow.ranked, dim=shadow.dim)
        self._shadows[id(exact)] = (exact, held)
        return True

    @contextmanager
    def _differentiating(self) -> Iterator[None]:
        """Record a graph, also where the network's code says not to; what it overwrites later is copied."""
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            if not torch.is_grad_enabled():
                stack.enter_context(torch.autograd.graph.saved_tensors_hooks(_copy, lambda saved: saved))
            stack.enter_context(torch.enable_grad())
            yield

    def attached(self, output: Tensor) -> Tensor:
        """Return the network's output with the gradient of its stand-in; call it at the end of the block.

        Custom functions that are still in the graph, those that return their input or leave torch, pass the
        gradient straight through where its shape allows that.
        """
        shadow = self.shadow(output)
        if shadow is not None and output.is_floating_point():
            with torch._C.DisableTorchFunction(), self._differentiating():
                output = Grafted.apply(output.detach(), shadow.value.to(output.dtype))
        for node in _custom_nodes(output.grad_fn):
            self.custom = True
            if not self.trusting:
                node.register_hook(_straight_through)
        return output

    # Operations -----------------------------------------------------------------------------------------------

    def _kept(self, name: str, func: Any, args: tuple[Any, ...]) -> Any:
        """Run what cuts the gradient, and hold the stand-in of what it returns."""
        shadow = self.shadow(args[0])
        with self._differentiating():
            whole = shadow.value if shadow else args[0].clone()
        exact = func(*args)
        self.replaced[_spoken(name)] = None
        if exact.is_floating_point() or shadow is not None:
            self._shadows[id(exact)] = (exact, shadow or Shadow(value=whole))
        return exact

    def _run(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = kwargs.get("out")
        if out is not None:
            return self._into(name, func, args, kwargs, out)
        in_place = _in_place(name, kwargs)
        base = _without_underscore(name) if in_place else name
        recording = torch.is_grad_enabled()
        plain = recording and not any(id(t) in self._shadows for t in _tensors((args, kwargs)))
        if plain and (base not in SURROGATES or (base in DIFFERENTIABLE and not in_place)):
            return self._natural(base, func, args, kwargs)
        if in_place:
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
        with _replayed(state):
            smooth = self._stand_in(base, func, args, kwargs, exact)
        return self._combined(base, exact, smooth, graft=graft)

    def _stand_in(
        self, base: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], exact: Any, *, default: bool = True
    ) -> Any:
        """Return the result on stand-ins, or None; with `default` an operation needs no surrogate to have one."""
        surrogate = SURROGATES.get(base)
        with self._differentiating():
            effective, named = self._effective(args), self._effective(kwargs)
            call = Call(
                run=func,
                args=effective,
                kwargs=named,
                given=args,
                exact=exact,
                shadow=self.shadow,
                dtype=self._floating_dtype((effective, named)),
            )
            try:
                smooth = AS_IT_IS if surrogate is None else surrogate(call)
                if smooth is not AS_IT_IS:
                    self.replaced[_spoken(base)] = None
                    return smooth
                return func(*effective, **named) if default else smooth
            except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError):
                return None

    def _floating_dtype(self, effective: Any) -> torch.dtype:
        return next(
            (t.dtype for t in _tensors(effective) if t.is_floating_point() and t.requires_grad),
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
        if base not in SURROGATES and isinstance(smooth, Tensor) and not _near(smooth, exact):
            smooth = None
        if graft and exact.is_floating_point() and isinstance(smooth, Tensor) and not exact._is_view():
            if smooth.requires_grad and smooth.shape == exact.shape:
                with self._differentiating():
                    return Grafted.apply(exact, smooth.to(exact.dtype))
        elif isinstance(exact, Tensor) and self._keep_differentiably(exact, smooth):
            return exact
        if exact.numel() > 1 and smooth is None:
            self.missed[base] = None
        return exact

    def _keep_differentiably(self, exact: Tensor, smooth: Any) -> bool:
        with self._differentiating():
            return self._keep(exact, smooth)

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
        natural = target.requires_grad and torch.is_grad_enabled() and self.shadow(target) is None
        if natural and isinstance(smooth, Tensor) and smooth.shape == exact.shape and target.is_floating_point():
            try:
                with self._differentiating():
                    target.copy_(Grafted.apply(exact, smooth.to(exact.dtype)))
                return target if result is not None else None
            except RuntimeError:
                pass
        with torch.no_grad():
            target.copy_(exact)
        self._shadows.pop(id(target), None)
        self._combined(base, target, smooth, graft=False)
        return target if result is not None else None

    def _stand_in_of_write(
        self, base: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], exact: Tensor
    ) -> Any:
        """Return what the target of an operation in place becomes, differentiably."""
        target, rest = args[0], args[1:]
        if base in SURROGATES and base != "__getitem__":
            plain = {key: value for key, value in kwargs.items() if key != "inplace"}
            return self._stand_in(base, _out_of_place(func, base), args, plain, exact)
        if base == "__setitem__" and _fills_by_mask(*args):
            return self._stand_in("masked_fill", func, args, {}, exact)
        with self._differentiating():
            try:
                start = self._effective(target).clone()
                start = start if start.is_floating_point() else start.to(self._floating_dtype(self._effective(rest)))
                func(start, *self._indices_kept(base, rest), **self._effective(kwargs))
                return start
            except (RuntimeError, TypeError, ValueError, IndexError):
                return None

    def _indices_kept(self, base: str, rest: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return arguments with stand-ins, but for those that are positions."""
        if base == "__setitem__":
            return rest[0], self._effective(rest[1])
        return tuple(
            value
            if isinstance(value, Tensor)
            and value.dtype in (torch.int64, torch.bool)
            and base.startswith(("index", "scatter", "masked"))
            else self._effective(value)
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
        with self._differentiating():
            kept = self._keep(x, origin * slope.to(origin.dtype))
        self.replaced["code outside torch"] = None
        return kept


def _custom_nodes(root: Any) -> list[Any]:
    """Return the nodes of custom functions, but for this package's own, in the graph of a result."""
    found, seen, waiting = [], set(), [root]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            function = getattr(type(node), "_forward_cls", None)
            if not str(getattr(function, "__module__", "")).startswith("epsball."):
                found.append(node)
        waiting.extend(following for following, _ in node.next_functions)
    return found


def _straight_through(inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor | None, ...]) -> Any:
    """Return the gradient of a function's output as that of its first input, where they have one shape."""
    if not inputs or inputs[0] is None or outputs[0] is None or inputs[0].shape != outputs[0].shape:
        return None
    return (outputs[0], *inputs[1:])


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


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested arguments."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _copy(saved: Tensor) -> Tensor:
    """Return what a backward pass needs, safe from later writes; parameters as they are."""
    return saved if isinstance(saved, nn.Parameter) else saved.clone()


def _near(smooth: Tensor, exact: Tensor) -> bool:
    """Return whether a stand-in has the values of the exact result."""
    if smooth.shape != exact.shape or not smooth.is_floating_point() or exact.is_quantized:
        return False
    gap = (smooth.detach() - exact.detach().to(smooth.dtype)).nan_to_num(posinf=0.0, neginf=0.0)
    size = exact.detach().to(smooth.dtype).nan_to_num(posinf=0.0, neginf=0.0).abs()
    return exact.numel() == 0 or bool(gap.abs().max() <= _TOLERANCE * (1e-6 + size.max()))


def _in_place(name: str, kwargs: dict[str, Any]) -> bool:
    if kwargs.get("inplace") is True or name == "__setitem__" or name in _IN_PLACE:
        return True
    return name.endswith("_") and not name.endswith("__")


def _fills_by_mask(target: Tensor, mask: Any, value: Any) -> bool:
    """Return whether target[mask] = value puts one number where a mask holds."""
    masked = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == target.shape
    return masked and (not isinstance(value, Tensor) or value.ndim == 0)


def _without_underscore(name: str) -> str:
    """Return the name of an operation's form that returns something new."""
    if name in _IN_PLACE:
        return f"__{name[3:]}"
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def _out_of_place(func: Any, base: str) -> Callable[..., Any]:
    """Return an operation in place as one that returns something new."""
    method = getattr(Tensor, base, None)
    if method is not None and base != "where":
        return method

    def on_a_copy(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        copy = x.clone()
        func(copy, *args, **kwargs)
        return copy

    return on_a_copy


def _inside_custom_function() -> bool:
    """Return whether a custom ``autograd.Function`` is running its forward."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "apply" and code.co_filename.endswith(("autograd/function.py", "autograd\\function.py")):
            return True
        frame = frame.f_back
    return False


@contextmanager
def _replayed(state: Tensor | None) -> Iterator[None]:
    """Draw the same random numbers once more inside the block; go on after it as if that had not happened."""
    if state is None:
        yield
        return
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    try:
        yield
    finally:
        torch.set_rng_state(after)


def _spoken(name: str) -> str:
    return {"data.__get__": ".data", "__array__": "numpy"}.get(name, name.strip("_"))
