"""`RuntimeModule`: an ONNX file run by onnxruntime, whatever it consists of, as a module without gradients."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.errors import InputError, ModelError, UnsupportedOperation
from epsball.graph.agreement import compare
from epsball.graph.onnx.ending import Ending, Rows, chosen_output, endings, rows_of
from epsball.graph.onnx.file import OnnxFile, read_file
from epsball.graph.onnx.input_shape import Arrangement, arrangement
from epsball.graph.onnx.runtime import FEW, TOLERANCE
from epsball.graph.onnx.session import Session


class RuntimeModule(nn.Module):
    """Maps inputs (n, *shape) to logits (n, classes) by running a file on the CPU.

    It passes no gradient, so attacks that need none take it; there is no graph, so nothing can be certified.

    Parameters
    ----------
    file
        The file.
    order
        How inputs are laid out for it.
    ending
        How its output is read.
    rows
        How what the output holds for one example becomes a row of logits.
    classes
        Number of logits.
    alone
        Whether the file is given one example at a time.
    notes
        What was read otherwise than written.

    Attributes
    ----------
    digest
        The hash of the file and of how it is read: the state of the module.
    """

    digest: Tensor

    def __init__(
        self,
        file: OnnxFile,
        order: Arrangement,
        ending: Ending,
        rows: Rows,
        classes: int,
        alone: bool,
        notes: Sequence[str],
    ) -> None:
        super().__init__()
        self.shape, self.classes = order.given, classes
        self.notes = tuple(f"{file.path.name}: {note}" for note in notes)
        self._source, self._order, self._rows, self._alone = file.path.name, order, rows, alone
        self._session = Session(file, [ending.output], ending.nodes if ending.changed else None)
        read = f"{file.digest} {order.given} {ending.output} {ending.taken}".encode()
        self.register_buffer("digest", torch.tensor(list(read), dtype=torch.uint8))

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the logits.

        Raises
        ------
        InputError
            If the inputs do not have the shape the file takes.
        UnsupportedOperation
            If a graph is to be made of it.
        """
        if torch.compiler.is_exporting():
            raise UnsupportedOperation(
                f"{self._source} is run by onnxruntime and has no graph; certificates need one. Leave run=onnxruntime "
                "out, if all its operators have rules."
            )
        if tuple(x.shape[1:]) != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise InputError(f"x is {tuple(x.shape)}; {self._source} takes inputs of shape (n, {expected}).")
        scores = self._session.run(self._order.of(x.detach().cpu()), alone=self._alone)
        return self._rows(torch.from_numpy(scores)).to(x)

    def extra_repr(self) -> str:
        """Return the source for the module's text."""
        return f"{self._source} in onnxruntime"


def runtime_module(
    path: str | Path,
    *,
    shape: tuple[int, ...] | None = None,
    data_shape: tuple[int, ...] | None = None,
    output: str | None = None,
) -> RuntimeModule:
    """Return an ONNX file as a module that onnxruntime runs; the arguments are those of `read_onnx`.

    Raises
    ------
    MissingExtra
        If onnx or onnxruntime is not installed.
    InputError
        If the file cannot be read, or leaves lengths open that `shape` does not give.
    ModelError
        If it is not a classifier of one input, or onnxruntime cannot run it.
    """
    file = read_file(Path(path).expanduser())
    order = arrangement(file, shape, data_shape)
    name, reading, chosen = chosen_output(file, output)
    x = order.of(2 * torch.rand(FEW, *order.given, generator=torch.Generator().manual_seed(0)) - 1)
    for ending in endings(file, name, reading):
        session = Session(file, [name], ending.nodes if ending.changed else None)
        one_by_one = torch.from_numpy(session.run(x, alone=True))
        width = one_by_one.shape[1]
        if ending.taken == "sigmoid" and width != 1:
            continue
        rows, notes = rows_of(file, ending, width, reading)
        logits = rows(one_by_one)
        if ending.finish is not None and not _ends_so(ending, logits, Session(file, [name], None).run(x, alone=True)):
            continue
        alone = not order.free or not _runs_batches(session, x, one_by_one, file)
        found = ("it is run example by example",) if alone and order.free else ()
        said = (*order.notes, *chosen, *notes, *found, "onnxruntime runs it: without gradients and without a graph")
        return RuntimeModule(file, order, ending, rows, logits.shape[1], alone, said)
    raise ModelError(f"{file.path} has no output {name} that can be read.")


def _ends_so(ending: Ending, logits: Tensor, expected: np.ndarray) -> bool:
    """Return whether the function taken off, of the logits, is what the file returns."""
    whole = torch.from_numpy(expected)
    computed = logits if ending.finish is None else ending.finish(logits)
    return computed.shape == whole.shape and torch.allclose(computed, whole, rtol=0, atol=TOLERANCE)


def _runs_batches(session: Session, x: np.ndarray, one_by_one: Tensor, file: OnnxFile) -> bool:
    """Return whether a batch gives what its examples give alone."""
    try:
        compare(torch.from_numpy(session.run(x, alone=False)), one_by_one, file.path.name, TOLERANCE)
    except ModelError:
        return False
    return True
