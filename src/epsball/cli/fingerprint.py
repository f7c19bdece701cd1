"""``epsball fingerprint``."""

import json
import re
from typing import Annotated

from cyclopts import Parameter

from epsball.cli.common import Common, Model, Output, load_model_for
from epsball.errors import InputError

_COMMON = Common()


def _check_shape(_: object, text: str | None) -> None:
    if text is not None and not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text.lower()):
        raise InputError(f"the shape is '{text}'; write the sizes of one input, as in 1x28x28.")


_Shape = Annotated[
    str | None,
    Parameter(validator=_check_shape, help="Shape of one input, as in 1x28x28, if the model does not say it."),
]
_Classes = Annotated[int | None, Parameter(help="Number of classes, for an architecture built to measure.")]


def fingerprint(model: Model, /, *, shape: _Shape = None, classes: _Classes = None, common: Common = _COMMON) -> Output:
    """Print the fingerprint of your model: what a certificate about it must be about.

    It is a SHA-256 over the captured network and every one of its weights. epsball replay --model-hash
    accepts only certificates of that model.
    """
    from epsball.certificates import REAL, Verifier
    from epsball.certificates.replay.files import model_file_name
    from epsball.models.option_values import shape as shape_of

    loaded = load_model_for(model, None if shape is None else shape_of(shape), classes, common)
    if loaded.shape is None:
        raise InputError(f"{model} does not say the shape of its inputs; give it, as in --shape 1x28x28.")
    graph = Verifier.of(loaded.classifier(), loaded.shape, REAL).graph
    found = graph.fingerprint()
    document = {"model": model, "fingerprint": found, "file": model_file_name(found)}
    return Output(json.dumps(document, indent=2) if common.json else found)
