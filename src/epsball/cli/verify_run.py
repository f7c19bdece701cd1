"""``epsball verify-run``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from epsball.cli.common import Common, Output, load_data, load_model
from epsball.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from epsball.data import Dataset

_COMMON = Common()
_Run = Annotated[Path, Parameter(help="The folder of a finished audit, or of several within other balls.")]
_Model = Annotated[str | None, Parameter(help="The model that was audited, as in cnn_a@weights.pt; with DATA.")]
_Data = Annotated[str | None, Parameter(help="The data it was audited on, as in digits.")]
_Hash = Annotated[str | None, Parameter(help="The hash that the audit printed last: finds a folder that was made up.")]


def verify_run(
    run: _Run, model: _Model = None, data: _Data = None, /, *, manifest: _Hash = None, common: Common = _COMMON
) -> Output:
    """Check a finished audit again: files, evidence, chain, witnesses and certificates.

    Without MODEL and DATA the natural pass and the verdicts of witnesses are not checked, and it says so. Exit code 0:
    all holds, 6: something does not, 8: a witness and a certificate contradict each other, 2: not a run.
    """
    from epsball.auditing import verify_run as check

    if (model is None) != (data is None):
        raise InputError("MODEL was given without DATA; give both or neither.")
    if model is None or data is None:
        result = check(run, manifest=manifest)
    else:
        from epsball.auditing.manifest import runs_of
        from epsball.auditing.verifying.record import Record

        # Of a folder of runs, any says what the model was.
        record = Record.read(next((run / name for name in runs_of(run) or ()), run))
        dataset = load_data(data, model, common)
        ball, repetitions = record.ball, record.identity.get("stochastic") or 0
        loaded = load_model(model, dataset, common)
        classifier = loaded.classifier(low=ball.low, high=ball.high, stochastic=bool(repetitions))
        result = check(run, classifier, dataset, manifest=manifest, runtime=_runtime(model, dataset, common))
    text = json.dumps(result.to_json(), indent=2, allow_nan=False) if common.json else str(result)
    return Output(text, result.exit_code)


def _runtime(model: str, dataset: "Dataset", common: Common) -> "Callable[[Tensor], Tensor] | None":
    """Return onnxruntime on the file of a model that is ONNX; None for another model."""
    if not model.partition(",")[0].endswith(".onnx") or "run=" in model:
        return None
    return load_model(f"{model},run=onnxruntime", dataset, common).classifier(low=None, high=None).logits
