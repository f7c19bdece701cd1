"""`Network`: an ONNX file as a function that is bounded, and as onnxruntime computes it."""

import gzip
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from epsball.errors import InputError, ModelError, UnsupportedOperation
from epsball.graph import Graph
from epsball.graph.onnx import read_onnx
from epsball.graph.onnx.ending import chosen_output
from epsball.graph.onnx.file import OnnxFile, read_file
from epsball.graph.onnx.importer import WAY_OUT
from epsball.graph.onnx.session import Session
from epsball.verification.folding import folded
from epsball.verification.vnnlib import Query, or_packed

_ELEMENTS = {1: ("float32", torch.float32), 11: ("float64", torch.float64)}
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True, eq=False)
class Runtime:
    """An ONNX file as onnxruntime computes it.

    Parameters
    ----------
    path
        The file.
    shape, returned
        The shape of one input, and the number of outputs.
    element, dtype
        Its element type, ``"float32"`` or ``"float64"``, and the type of the tensors.
    session
        The file in onnxruntime on the CPU, as onnxruntime runs it by default, in one thread.
    """

    path: str
    shape: tuple[int, ...]
    returned: int
    element: str
    dtype: torch.dtype
    session: Session

    def outputs(self, x: Tensor) -> tuple[float, ...] | None:
        """Return what onnxruntime computes for one input; None where a value is not finite."""
        values = self.session.run(x.unsqueeze(0).numpy(), alone=True)[0]
        return tuple(values.tolist()) if bool(torch.from_numpy(values).isfinite().all()) else None

    def exact_outputs(self, x: Tensor) -> list[Fraction] | None:
        """Return the same as fractions, which are the computed floats exactly."""
        found = self.outputs(x)
        return None if found is None else [Fraction(value) for value in found]


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """An ONNX file.

    Parameters
    ----------
    runtime
        As onnxruntime computes it.
    graph
        What it computes, from one input to its values as one row; None where it cannot be read as a graph.
    ungraphed
        Why there is no graph.
    """

    runtime: Runtime
    graph: Graph | None
    ungraphed: str = ""


def read_network(path: str | Path, query: Query, *, seconds: float | None = None) -> Network:
    """Read the network that a query is about, and check that they fit.

    Parameters
    ----------
    path, query
        The file, or one whose gzipped copy NAME.gz is there; and what is asked of it.
    seconds
        Time for the comparison of the graph with onnxruntime, beyond a few points; None lets it be made whole.

    Raises
    ------
    InputError
        If the numbers of inputs or outputs, or the element types, are not those that the query declares.
    ModelError
        If it has several inputs or outputs, or onnxruntime cannot run it.
    """
    path = or_packed(Path(path).expanduser())
    graph, ungraphed = None, ""
    with _unpacked(path) as file_path:
        file = read_file(file_path)
        lengths, is_open = _shape(file, query, path)
        runtime = _runtime(file, query, path, lengths)
        try:
            shape = lengths if is_open else None
            graph = folded(read_onnx(file, shape=shape, output="values", seconds=seconds))
        except (UnsupportedOperation, ModelError) as error:
            ungraphed = str(error).replace(str(file_path), str(path)).removesuffix(f" {WAY_OUT}")
    return Network(runtime=runtime, graph=graph, ungraphed=ungraphed)


def _runtime(file: OnnxFile, query: Query, path: Path, shape: tuple[int, ...]) -> Runtime:
    """Return a file as onnxruntime computes it, after a look at what it returns."""
    code = file.input.type.tensor_type.elem_type
    if code not in _ELEMENTS:
        raise ModelError(f"{path} takes inputs of another type than float32 and float64, which are read. Export it so.")
    element, dtype = _ELEMENTS[code]
    if query.element not in ("real", element):
        raise InputError(
            f"{query.path} declares {query.element}, and {path} takes {element}; element types must agree. Declare "
            f"{element}, or real for a claim about real numbers."
        )
    session = Session(file, [chosen_output(file, "values")[0]], None, rewriting=True)
    returned = session.run(torch.zeros(1, *shape, dtype=dtype).numpy(), alone=True).shape[1]
    if query.output.size != returned:
        raise InputError(
            f"{query.path} is about {query.output.size} outputs, {path} returns {returned}; the query declares each "
            f"output of its network. {_about_outputs(query, returned)}"
        )
    return Runtime(path=str(path), shape=shape, returned=returned, element=element, dtype=dtype, session=session)


def _about_outputs(query: Query, returned: int) -> str:
    if query.output.size > returned:
        return f"Y_{returned} does not exist: is it the query of another network?"
    return "Declare the others too, or take the network it was made for."


def _shape(file: OnnxFile, query: Query, path: Path) -> tuple[tuple[int, ...], bool]:
    """Return the shape of one input, and whether the file leaves lengths open; check the number of entries.

    One open length follows from the number of inputs; where several are open, they are 1.
    """
    axes = file.input.type.tensor_type.shape.dim
    lengths = [axis.dim_value if axis.HasField("dim_value") else 0 for axis in axes]
    if len(lengths) > 1 and lengths[0] in (0, 1, -1):
        lengths = lengths[1:]
    open_axes = [axis for axis, length in enumerate(lengths) if length <= 0]
    known = math.prod(length for length in lengths if length > 0)
    if len(open_axes) == 1 and query.input.size % known == 0:
        lengths[open_axes[0]] = query.input.size // known
    shape = tuple(length if length > 0 else 1 for length in lengths)
    if math.prod(shape) != query.input.size:
        raise InputError(
            f"{query.path} is about {query.input.size} inputs, {path} takes {'x'.join(map(str, shape))} = "
            f"{math.prod(shape)}; the query declares each input of its network. Take the network it was made for."
        )
    return shape, bool(open_axes)


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """Yield the file itself, or where it is gzipped an unpacked copy."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not packed:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name.removesuffix(".gz")
        try:
            copy.write_bytes(gzip.decompress(path.read_bytes()))
        except (OSError, EOFError) as error:
            raise InputError(f"{path} cannot be unpacked ({error}). Download it again.") from error
        try:
            yield copy
        except (InputError, ModelError, UnsupportedOperation) as error:
            raise type(error)(str(error).replace(str(copy), str(path))) from error


def exact(x: Tensor) -> Sequence[Fraction]:
    """Return the entries of a tensor as fractions, in row-major order."""
    return [Fraction(value) for value in x.double().flatten().tolist()]
