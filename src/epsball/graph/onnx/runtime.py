"""The comparison of an imported graph with onnxruntime, made once per file."""

import hashlib
import json
import math
import os
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from epsball.errors import InputError, ModelError, first_line
from epsball.files import write_json
from epsball.graph.agreement import compare
from epsball.graph.onnx.difference import first_difference
from epsball.graph.onnx.file import OnnxFile, onnx_package
from epsball.graph.onnx.input_shape import Arrangement
from epsball.graph.onnx.session import Session
from epsball.graph.onnx.translation import Translation
from epsball.progress import report

POINTS = 1000
"""Random inputs compared."""

FEW = 4
"""Inputs that are compared before the others, in one batch: most differences show there."""

GROUP = 100
"""Inputs whose largest logit is the scale of one comparison."""

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest logit.

The graph runs in float64, so what remains is onnxruntime's own rounding: about 1e-7 per operation.
"""

COARSE = 1e-2
"""The same for the few inputs, whose largest logit may be small."""

_BLOCK_SECONDS = 0.5

_WHY = (
    "Either onnxruntime does not follow the standard there, or the file depends on its batch or on chance; "
    "certificates would be about a different function. Export the network with another operator set, or without "
    "automatic padding."
)


def check_against_runtime(
    translation: Translation, file: OnnxFile, order: Arrangement, seconds: float | None = None
) -> tuple[str, ...]:
    """Compare a graph with onnxruntime at random points, unless this comparison was made before.

    A file with a free batch axis whose nodes are written for one example is run example by example.

    Parameters
    ----------
    translation
        The graph, and how the file's output is read.
    file
        The file.
    order
        How its inputs are laid out.
    seconds
        Time after which it ends, once the few first points agree: it is not remembered then.

    Returns
    -------
    What was found about the file, for its user.

    Raises
    ------
    ModelError
        If onnxruntime cannot run the file, or they differ.
    """
    runtime = onnx_package("onnxruntime")
    graph, ending = translation.graph, translation.ending
    facts = [file.digest, graph.fingerprint(), str(order.given), runtime.__version__]
    if ending.taken or len(file.graph.output) > 1:
        facts += [ending.output, ending.taken]
    mark = _cache_folder() / f"{hashlib.sha256(' '.join(facts).encode()).hexdigest()}.json"
    known = _known(mark)
    if known is None:
        comparison = _Comparison(translation, file, order, math.inf if seconds is None else perf_counter() + seconds)
        whole = comparison.run()
        known = {"file": file.digest, "points": POINTS, "onnxruntime": runtime.__version__}
        known |= {"one_example": True} if comparison.alone and order.free else {}
        if whole:
            _remember(mark, known)
    return (_about_one_example(translation.fixed),) if known.get("one_example") else ()


def _about_one_example(fixed: tuple[str, ...]) -> str:
    return (
        f"its batch axis is free, but it is written for one example ({', '.join(fixed[:3])}): it was checked example "
        "by example, and any number of rows is meant"
    )


class _Comparison:
    """The graph and the file at the same points.

    Attributes
    ----------
    alone
        Whether the file is given one example at a time.
    """

    def __init__(self, translation: Translation, file: OnnxFile, order: Arrangement, end: float) -> None:
        self.translation, self.file, self.order = translation, file, order
        self.end = end
        self.alone = not order.free
        ending = translation.ending
        self.scores = Session(file, [ending.output], ending.nodes if ending.changed else None)
        self.whole = Session(file, [ending.output], None) if ending.finish is not None else None
        graph = translation.graph
        self.exact = {name: tensor.double() for name, tensor in graph.parameters.items()}

    def run(self) -> bool:
        """Compare at few points, then at all; return whether the time was enough for all.

        Raises
        ------
        ModelError
            If onnxruntime cannot run the file, or they differ.
        """
        given = self.order.given
        x = torch.rand(POINTS, *given, generator=torch.Generator().manual_seed(0))
        x[1::2] = 2 * x[1::2] - 1
        report(self._title, 0, len(x))
        self._few(x[:FEW])
        return all(self._group(x[start : start + GROUP], start, len(x)) for start in range(0, len(x), GROUP))

    def _few(self, x: Tensor) -> None:
        """Compare at few points; find out whether the file takes one example at a time only."""
        if self.alone or not self.translation.fixed:
            self._compare(x, COARSE)
            return
        try:
            self._compare(x, COARSE)
        except ModelError as of_batch:
            self.alone = True
            try:
                self._compare(x, COARSE)
            except ModelError as of_one:
                raise ModelError(
                    f"the batch axis of {self.file.path} is free, but it is written for one example "
                    f"({', '.join(self.translation.fixed[:3])}). Batches: {of_batch} One example: {of_one} Export it "
                    "with the batch's length left open in its shapes, x.flatten(1) or x.reshape(x.shape[0], -1)."
                ) from of_one

    def _group(self, x: Tensor, start: int, total: int) -> bool:
        """Compare at the points of one group, run in blocks that take about half a second; return whether at all."""
        computed, expected, ends = [], [], []
        done, size = 0, FEW
        while done < len(x):
            began = perf_counter()
            if began > self.end:
                return False
            block = x[done : done + size]
            computed.append(self._computed(block))
            expected.append(self._expected(block))
            ends += [self._end(block)] if start == 0 else []
            done += len(block)
            report(self._title, start + done, total)
            taken = perf_counter() - began
            size = max(1, size // 2) if taken > 2 * _BLOCK_SECONDS else 2 * size if taken < _BLOCK_SECONDS else size
        self._agree(x, torch.cat(computed), torch.cat(expected), TOLERANCE)
        if start == 0:
            self._agree_at_end(torch.cat(expected), torch.cat(ends))
        return True

    def _compare(self, x: Tensor, tolerance: float) -> None:
        expected = self._expected(x)
        self._agree(x, self._computed(x), expected, tolerance)
        self._agree_at_end(expected, self._end(x))

    def _agree(self, x: Tensor, computed: Tensor, expected: Tensor, tolerance: float) -> None:
        graph = self.translation.graph
        if computed.shape != expected.shape:
            raise ModelError(
                f"onnxruntime returns {expected.shape[1]} numbers per example of {graph.source} where its graph "
                f"returns {computed.shape[1]}. {self._place(x)}{_WHY}"
            )
        try:
            compare(computed, expected, graph.source, tolerance, why="")
        except ModelError as error:
            raise ModelError(f"{error}{self._place(x)}{_WHY}") from error

    def _agree_at_end(self, logits: Tensor, expected: Tensor) -> None:
        """Compare what was taken off, computed from the file's own logits, with what the file returns."""
        ending = self.translation.ending
        if ending.finish is None:
            return
        computed = ending.finish(logits.double())
        if computed.shape != expected.shape:
            raise ModelError(f"{self.file.path} does not end in one {ending.taken} of all its classes.")
        compare(computed, expected, f"{self.file.path.name} with its {ending.taken}", TOLERANCE, why=_WHY)

    def _end(self, x: Tensor) -> Tensor:
        """Return what the file returns, nothing if that is what its graph returns."""
        return (
            torch.empty(0)
            if self.whole is None
            else torch.from_numpy(self.whole.run(self.order.of(x), alone=self.alone))
        )

    def _computed(self, x: Tensor) -> Tensor:
        graph = self.translation.graph
        try:
            with torch.no_grad():
                return graph(x.double(), self.exact)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ModelError(f"the graph of {graph.source} cannot be run ({first_line(error)}).") from error

    def _expected(self, x: Tensor) -> Tensor:
        return self.translation.rows(torch.from_numpy(self.scores.run(self.order.of(x), alone=self.alone)))

    def _place(self, x: Tensor) -> str:
        """Return where the two first differ, as a sentence; empty if that is not found."""
        one = x[1:2]  # entries of both signs
        node = first_difference(self.translation, self.file, self.order.of(one), one)
        return f"They first differ at {node}. " if node else ""

    @property
    def _title(self) -> str:
        return f"comparison of {self.file.path.name} with onnxruntime"


def _cache_folder() -> Path:
    """Return the folder in which comparisons are remembered."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "epsball" / "onnx"


def _known(mark: Path) -> dict[str, Any] | None:
    """Return what was remembered of a comparison, None if nothing was."""
    try:
        known = json.loads(mark.read_text())
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def _remember(mark: Path, known: dict[str, Any]) -> None:
    """Note that a comparison was made; if the cache cannot be written, it is made again next time."""
    try:
        write_json(mark, known)
    except InputError:
        return
