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

from epsball.errors import InputError
from epsball.graph import Graph
from epsball.graph.onnx import read_onnx
from epsball.graph.onnx.ending import chosen_output
from epsball.graph.onnx.file import OnnxFile, read_file
from epsball.graph.onnx.session import Session
from epsball.verification.folding import folded
from epsball.verification.vnnlib import Query

_ELEMENTS = {1: ("float32", torch.float32), 11: ("float64", torch.float64)}
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """An ONNX file.

    Parameters
    ----------
    path
        The file.
    graph
        What it computes, from one input to its values as one row.
    element, dtype
        Its element type, ``"float32"`` or ``"float64"``, and the type of the tensors.
    session
        The file in onnxruntime on the CPU, as onnxruntime runs it by default, in one thread.
    """

    path: str
    graph: Graph
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


def read_network(path: str | Path, query: Query, *, seconds: float | None = None) -> Network:
    """Read the network that a query is about, and check that they fit.

    Parameters
    ----------
    path, query
        The file, and what is asked of it.
    seconds
        Time for the comparison of the graph with onnxruntime, beyond a few points; None lets it be made whole.

    Raises
    ------
    InputError
        If the numbers of inputs or outputs, or the element types, are not those that the query declares.
    """
    path = Path(path).expanduser()
    with _unpacked(path) as file_path:
        file = read_file(file_path)
        shape = _shape(file, query, path)
        graph = folded(read_onnx(file_path, shape=shape, output="values", seconds=seconds))
        session = Session(file, [chosen_output(file, "values")[0]], None, rewriting=True)
    element, dtype = _ELEMENTS[file.input.type.tensor_type.elem_type]
    if query.element not in ("real", element):
        raise InputError(
            f"{query.path} declares {query.element}, and {path} takes {element}; element types must agree. Declare "
            f"{element}, or real for a claim about real numbers."
        )
    returned = graph.classes
    if query.output.size != returned:
        raise InputError(
            f"{query.path} is about {query.output.size} outputs, {path} returns {returned}; the query declares each "
            f"output of its network. {_about_outputs(query, returned)}"
        )
    return Network(path=str(path), graph=graph, element=element, dtype=dtype, session=session)


def _about_outputs(query: Query, returned: int) -> str:
    if query.output.size > returned:
        return f"Y_{returned} does not exist: is it the query of another network?"
    return "Declare the others too, or take the network it was made for."


def _shape(file: OnnxFile, query: Query, path: Path) -> tuple[int, ...] | None:
    """Return the shape of one input where the file leaves lengths open; check the number of entries.

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
    return shape if open_axes else None


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
        yield copy


def exact(x: Tensor) -> Sequence[Fraction]:
    """Return the entries of a tensor as fractions, in row-major order."""
    return [Fraction(value) for value in x.double().flatten().tolist()]
