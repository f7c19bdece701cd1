"""The comparison of an imported graph with onnxruntime, made once per file."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from epsball.errors import InputError, ModelError, first_line
from epsball.files import write_json
from epsball.graph._graph import Graph
from epsball.graph.agreement import compare
from epsball.graph.onnx.file import OnnxFile, onnx_package

POINTS = 1000
"""Random inputs compared."""

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest logit.

The graph runs in float64, so what remains is onnxruntime's own rounding: about 1e-7 per operation.
"""


def check_against_runtime(graph: Graph, file: OnnxFile, given: tuple[int, ...], lengths: tuple[int, ...]) -> None:
    """Compare a graph with onnxruntime at random points, unless this comparison was made before.

    Parameters
    ----------
    graph
        Takes inputs of shape `given`.
    file
        Takes inputs of shape `lengths`.

    Raises
    ------
    ModelError
        If onnxruntime cannot run the file, or they differ.
    """
    runtime = onnx_package("onnxruntime")
    facts = [file.digest, graph.fingerprint(), str(given), runtime.__version__]
    mark = _cache_folder() / f"{hashlib.sha256(' '.join(facts).encode()).hexdigest()}.json"
    if mark.is_file():
        return
    x = torch.rand(POINTS, *given, generator=torch.Generator().manual_seed(0))
    x[1::2] = 2 * x[1::2] - 1
    exact = {name: tensor.double() for name, tensor in graph.parameters.items()}
    run = _session(file)
    for block in x.split(100):
        with torch.no_grad():
            computed = graph(block.double(), exact)
        expected = run(_arranged(block, given, lengths))
        compare(computed, torch.from_numpy(expected).reshape(computed.shape), graph.source, TOLERANCE)
    _remember(mark, file, runtime.__version__)


def moves_channels(given: tuple[int, ...], lengths: tuple[int, ...]) -> bool:
    """Return whether inputs come as (c, h, w) where the file takes (h, w, c)."""
    return given != lengths and len(given) == len(lengths) == 3 and given == (lengths[2], lengths[0], lengths[1])


def _arranged(x: torch.Tensor, given: tuple[int, ...], lengths: tuple[int, ...]) -> np.ndarray:
    """Return inputs in the shape and order the file takes."""
    x = x.permute(0, 2, 3, 1) if moves_channels(given, lengths) else x
    return x.reshape(len(x), *lengths).contiguous().numpy()


def _session(file: OnnxFile) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a batch through onnxruntime, row by row if the file takes one row."""
    runtime = onnx_package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(str(file.path), options, providers=["CPUExecutionProvider"])
        (spec,) = [given for given in session.get_inputs() if given.name not in file.arrays]
        kind = np.float64 if spec.type == "tensor(double)" else np.float32
    except Exception as error:
        raise ModelError(f"onnxruntime cannot run {file.path} ({first_line(error)}).") from error
    single = spec.shape[0] == 1

    def run(x: np.ndarray) -> np.ndarray:
        blocks = np.split(x, len(x)) if single else [x]
        try:
            results = [session.run(None, {spec.name: block.astype(kind)})[0] for block in blocks]
        except Exception as error:
            raise ModelError(f"onnxruntime cannot run {file.path} ({first_line(error)}).") from error
        return np.stack([r.reshape(-1) for r in results]) if single else results[0]

    return run


def _cache_folder() -> Path:
    """Return the folder in which comparisons are remembered."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "epsball" / "onnx"


def _remember(mark: Path, file: OnnxFile, version: str) -> None:
    """Note that a comparison was made; if the cache cannot be written, it is made again next time."""
    try:
        write_json(mark, {"file": file.digest, "points": POINTS, "onnxruntime": version})
    except InputError:
        return
