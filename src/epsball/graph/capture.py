"""`capture`: a PyTorch module as a graph."""

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from io import StringIO
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from epsball.deployed_state import DeployedState
from epsball.errors import EpsballError, ModelError, UnsupportedOperation, first_line
from epsball.generator_state import preserved
from epsball.graph import source_location
from epsball.graph._graph import Graph
from epsball.graph.agreement import TOLERANCE, check_agreement
from epsball.graph.aten import RULES
from epsball.graph.batch_length import asking_about_one_row, batch_length, check_lengths, same_steps
from epsball.graph.builder import Builder
from epsball.graph.one_function import called_again, check_calls, check_gradient_mode
from epsball.graph.translate import MOVES, translate
from epsball.graph.wrappers import unwrapped
from epsball.module_state import untouched

_ROWS = 3
"""Rows of the exported example input; torch.export takes 0 and 1 for fixed lengths."""

_ONE_AT_A_TIME = RLock()
"""Held while a module is captured: tracing patches modules, settings, warnings and streams of the whole process, so
that a capture in another thread would see operations or errors that are not its own."""


def capture(module: nn.Module, shape: tuple[int, ...], *, dtype: torch.dtype | None = None) -> Graph:
    """Capture a module in evaluation mode as a graph, and check the graph against it.

    ``capture(classifier.network, shape)`` captures a `Classifier` with its normalisation. The
    module is not changed; the graph holds copies of its parameters and buffers under their
    names in ``state_dict``, so that live ones can be handed to it. `DataParallel` and
    `torch.compile` are seen through: the graph is that of the bare module, with its names.

    Parameters
    ----------
    module
        Maps (n, *shape) to logits (n, classes), each row by itself.
    shape
        The shape of one input.
    dtype
        The dtype of the input; by default that of the module's first floating tensor.

    Raises
    ------
    ModelError
        If ``torch.export`` cannot take the module, its logits depend on the batch, or the graph
        does not compute what the module computes.
    UnsupportedOperation
        If an operation has no rule.

    Examples
    --------
    >>> from torch import nn
    >>> graph = capture(nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), (1, 2, 2))
    >>> [node.name for node in graph.nodes], graph.classes
    (['input', 'reshape_1', 'linear_1', 'elementwise_1', 'linear_2'], 3)
    """
    with _ONE_AT_A_TIME, unwrapped(module) as network:
        tensors = [*network.parameters(), *network.buffers()]
        floating = [tensor for tensor in tensors if tensor.is_floating_point()]
        dtype = dtype or (floating[0].dtype if floating else torch.float32)
        if dtype not in TOLERANCE:
            raise ModelError(
                f"{type(network).__name__} works in {dtype}; certificates are about networks in float32 or float64. "
                "Convert it with module.float(); that is a different network."
            )
        if any(isinstance(part, torch.jit.ScriptModule) for part in network.modules()):
            raise UnsupportedOperation(
                "the model is a TorchScript program, which torch.export does not take: it can be attacked, and "
                "certificates cannot be made of it. Give the Python module, or export it by torch.export.save or "
                "torch.onnx.export."
            )
        device = tensors[0].device if tensors else torch.device("cpu")
        with untouched(network) as state, torch.no_grad(), _quietly():
            return _captured(network, state, shape, dtype, device)


def _captured(
    module: nn.Module, state: DeployedState, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Graph:
    """Return the graph of a module in evaluation mode, in the state it came in, checked against it."""

    def deployed(x: Tensor) -> Any:
        state.before_pass()
        return module(x)

    x = torch.rand(_ROWS, *shape, dtype=dtype, device=device)
    first = _check_runs(module, x)
    state.after_pass()
    again = called_again(module, x)
    state.before_pass()
    exported = _program(module, x)
    builder = Builder(shape, dtype, _named_tensors(module), type(module).__name__, device)
    builder.fixed.update(name for name, _ in module.named_buffers())
    graph = translate(_in_rules(module, exported), builder, _names_by_identity(module))
    check_agreement(graph, deployed, shape, dtype, device)
    check_calls(module, first, again.result)
    state.before_pass()
    check_gradient_mode(
        module, x, first, asks=again.asks_for_mode, same_program=partial(_same_with_gradients, module, x, exported)
    )
    state.before_pass()
    double = _in_float64(module, x)
    if double is not None:
        exact = {key: builder.exact.get(key, value.double()) for key, value in graph.parameters.items()}
        check_agreement(graph, double, shape, torch.float64, device, exact)
    return graph


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress torch.export's warnings, logged traces and printed programs; errors are raised all the same."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _check_runs(module: nn.Module, x: Tensor) -> Any:
    """Run the module once as it is: its own errors are clearer than those of tracing it."""
    try:
        return module(x.clone())
    except EpsballError:
        raise
    except Exception as error:
        raise ModelError(
            f"{type(module).__name__} fails on {_ROWS} inputs of shape {tuple(x.shape[1:])}: {first_line(error, 300)}. "
            "Give the shape of one input, without the batch."
        ) from error


def _same_with_gradients(module: nn.Module, x: Tensor, program: torch.export.ExportedProgram) -> bool:
    with torch.enable_grad():
        return same_steps(program, _program(module, x.clone().requires_grad_()))


def _in_rules(module: nn.Module, program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return a program as aten operators that have rules, without in-place operators."""
    if any(_needs_decomposition(target) for target in _targets(program)):
        table = torch.export.default_decompositions()
        for operator in RULES:
            table.pop(operator, None)
        try:
            program = program.run_decompositions(table)
        except Exception as error:
            raise ModelError(source_location.explain_export(module, error)) from error
    return program


def _program(module: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    """Export with a free batch; a Python ``len(x)`` leaves it free only under the strict tracer."""
    for strict in (False, True):
        try:
            with asking_about_one_row():
                program = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=strict)
        except Exception as error:
            if strict:
                break
            raise ModelError(source_location.explain_export(module, error)) from error
        length = batch_length(program)
        if length is not None:
            alone = partial(torch.export.export, module, (x[:1].clone(),), strict=strict)
            check_lengths(program, length, type(module).__name__, alone)
            return program
    raise ModelError(
        f"{type(module).__name__} fixes the length of the batch while it runs, so that only batches of one length "
        "fit. Write shapes with x.shape[0] or flatten(1), not with numbers."
    )


def _targets(program: torch.export.ExportedProgram) -> Iterable[Any]:
    return [node.target for node in program.graph.nodes if node.op == "call_function"]


def _needs_decomposition(target: Any) -> bool:
    if not isinstance(target, torch._ops.OpOverload) or target in RULES or target in MOVES:
        return False
    return not str(target).startswith(("aten.sym_", "aten._assert"))


def _named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of parameters and buffers by name."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def _names_by_identity(module: nn.Module) -> dict[str, str]:
    """Return, for every name of a parameter or buffer, the first name of the same tensor."""
    first: dict[int, str] = {}
    names = {}
    for name, tensor in (
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ):
        names[name] = first.setdefault(id(tensor), name)
    return names


def _in_float64(module: nn.Module, x: Tensor) -> nn.Module | None:
    """Return a copy in float64, or None if the module cannot be copied or does not run in float64."""
    try:
        with preserved():
            double = copy.deepcopy(module).double()
            runs = double(x.double()).dtype == torch.float64
    except Exception:
        return None
    return double if runs else None
