"""`Session`: a file, or a part of it, in onnxruntime."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from epsball.errors import ModelError, first_line
from epsball.graph.onnx.file import OnnxFile, onnx_package

_KINDS = {"tensor(double)": np.float64, "tensor(float16)": np.float16}


class Session:
    """Runs a file on the CPU with one thread, by default without onnxruntime's own rewriting.

    Parameters
    ----------
    file
        The file.
    outputs
        The names of the tensors that are computed.
    nodes
        What to run in place of the file's nodes; None runs the file as it is.
    rewriting
        Whether onnxruntime may rewrite the file's nodes, as it does where nobody says otherwise.
    """

    def __init__(
        self, file: OnnxFile, outputs: Sequence[str], nodes: Sequence[Any] | None, *, rewriting: bool = False
    ) -> None:
        runtime = onnx_package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if not rewriting:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._file, self._outputs = file, list(outputs)
        try:
            content = str(file.path) if nodes is None else _with_nodes(file, outputs, nodes)
            self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            (spec,) = [given for given in self._session.get_inputs() if given.name not in file.arrays]
        except Exception as error:
            raise ModelError(f"onnxruntime cannot run {file.path} ({first_line(error)}).") from error
        self._input = spec.name
        self._kind = _KINDS.get(spec.type, np.float32)
        self._rank = len(spec.shape)

    def run(self, x: np.ndarray, *, alone: bool) -> np.ndarray:
        """Return the first output's row for each example of a batch, given as a whole or, if `alone`, one by one.

        Raises
        ------
        ModelError
            If onnxruntime cannot run the file, or does not return one row of numbers per example.
        """
        blocks = np.split(x, len(x)) if alone else [x]
        return np.concatenate([self._rows(self.tensors(block)[0], len(block)) for block in blocks])

    def tensors(self, x: np.ndarray) -> list[Any]:
        """Return all outputs for a batch; a file without batch axis takes the one example of it."""
        x = x[0] if x.ndim == self._rank + 1 and len(x) == 1 else x
        try:
            return self._session.run(self._outputs, {self._input: x.astype(self._kind)})
        except Exception as error:
            raise ModelError(f"onnxruntime cannot run {self._file.path} ({first_line(error)}).") from error

    def _rows(self, result: Any, n: int) -> np.ndarray:
        """Return a result as one row per example; scikit-learn's is one dictionary per example."""
        if isinstance(result, list) and all(isinstance(row, dict) for row in result):
            result = [list(row.values()) for row in result]
        array = np.asarray(result)
        if array.dtype.kind not in "fiu" or array.size == 0 or array.size % n:
            raise ModelError(
                f"onnxruntime returns {array.dtype} of shape {array.shape} for {n} examples of {self._file.path}; a "
                "classifier returns logits (n, classes)."
            )
        return array.reshape(n, -1).astype(np.float64)


def run_node(file: OnnxFile, node: Any, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the results of one node of a file on arrays, as onnxruntime computes it."""
    onnx, runtime = onnx_package(), onnx_package("onnxruntime")
    kind = onnx.helper.np_dtype_to_tensor_dtype
    given = [onnx.helper.make_tensor_value_info(name, kind(x.dtype), x.shape) for name, x in inputs.items()]
    results = [onnx.ValueInfoProto(name=name) for name in node.output]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "node", given, results),
        opset_imports=[onnx.helper.make_opsetid("", file.opset)],
        ir_version=file.model.ir_version,
    )
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(result) for result in session.run(None, dict(inputs))]


def _with_nodes(file: OnnxFile, outputs: Sequence[str], nodes: Sequence[Any]) -> bytes:
    """Return the file's model with other nodes and outputs."""
    onnx = onnx_package()
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model.SerializeToString()
