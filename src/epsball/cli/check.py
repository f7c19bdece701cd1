"""``epsball check``."""

import json
from typing import Annotated

from cyclopts import Parameter

from epsball.cli.common import AS_BALL, Common, Data, Model, Output, load_data, load_model

_COMMON = Common()
_Ball = Annotated[
    str | None, AS_BALL, Parameter(help="The perturbation set, as in linf:8/255: certificates depend on its norm.")
]


def check(model: Model, data: Data, /, *, ball: _Ball = None, common: Common = _COMMON) -> Output:
    """Say what is understood of a model and its data, what is wrong with them, and what an audit would cost: seconds.

    Every guard on model and data with its finding, natural accuracy on the first examples, which certificates can
    run, passes and estimated time of each effort on this machine. Exit code 0: the other commands run on them, 2: the
    data are wrong, 3: the model is.
    """
    from epsball.auditing import check as run
    from epsball.ball import Ball

    dataset = load_data(data, model, common)
    loaded = load_model(model, dataset, common)
    result = run(loaded, dataset, None if ball is None else Ball.parse(ball))
    text = json.dumps(result.to_json(), indent=2, allow_nan=False) if common.json else str(result)
    return Output(text, result.exit_code)
