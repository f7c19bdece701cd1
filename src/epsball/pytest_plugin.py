"""The plugin of pytest: the fixture `robustness`, whose `gate` fails a test where a model is not robust enough.

pytest loads this module in every project that has epsball installed: it imports nothing but pytest.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn

    from epsball.auditing import Gate
    from epsball.ball import Ball
    from epsball.classifier import Classifier
    from epsball.data import Dataset
    from epsball.names import OnUndecided


class Robustness:
    """What the fixture gives.

    Parameters
    ----------
    item
        The test that asked for it.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def gate(
        self,
        model: "str | nn.Module | Classifier",
        data: object,
        *,
        ball: "str | Ball | None" = None,
        lock: str | Path | None = None,
        seed: int | None = None,
        on_undecided: "OnUndecided" = "fail",
        **options: Any,
    ) -> "Gate":
        """Fail the test unless a model is robust enough; return the answer.

        A test whose lock is refused, or whose model or data break a rule, fails with what says so.

        The answer is a function of model, data, options and seed alone: it is the same in every process of
        pytest-xdist, and nothing is written.

        Parameters
        ----------
        model, data
            As texts of the command line; a module or a `Classifier`; a pair (x, y) or a data set.
        ball
            As text, or a `Ball`; by default that of the lock.
        lock
            The lock's file, relative to pytest's root directory.
        seed
            By default that of the lock, or 0.
        on_undecided
            What an answer that cannot be given counts as.
        options
            Further options of `epsball.gate`, as in ``min_robust="0.9"``.
        """
        from epsball.errors import EpsballError

        try:
            result = self._answer(model, data, ball, lock, seed, options)
        except EpsballError as error:
            refused = pytest.fail.Exception(f"{type(error).__name__}: {error}", pytrace=False)
            raise refused from None
        self._item.user_properties.append(("robustness", result.answer))
        if not result.passed and not (result.answer == "cannot tell" and on_undecided == "pass"):
            pytest.fail(str(result), pytrace=False)
        return result

    def _answer(
        self,
        model: "str | nn.Module | Classifier",
        data: object,
        ball: "str | Ball | None",
        lock: str | Path | None,
        seed: int | None,
        options: Mapping[str, Any],
    ) -> "Gate":
        from epsball.auditing import gate
        from epsball.auditing.gating import Lock
        from epsball.ball import Ball
        from epsball.errors import InputError

        file = None if lock is None else self._item.config.rootpath / lock
        locked = None if file is None else Lock.read(file)
        found = ball if ball is not None or locked is None else locked.ball
        if found is None:
            raise InputError("ball is missing: the perturbation set, as in ball='linf:8/255'.")
        perturbation = Ball.parse(found) if isinstance(found, str) else found
        drawn = seed if seed is not None else 0 if locked is None else locked.seed
        classifier, dataset = _subject(model, data, perturbation, drawn)
        return gate(classifier, dataset, perturbation, seed=seed, lock=file, **options)


@pytest.fixture
def robustness(request: pytest.FixtureRequest) -> Robustness:
    """Return what gates a model's robustness: ``robustness.gate(model, data, ball="linf:8/255", min_robust="0.9")``."""
    return Robustness(request.node)


def _subject(
    model: "str | nn.Module | Classifier", data: object, ball: "Ball", seed: int
) -> "tuple[Classifier, Dataset]":
    """Return classifier and data; a classifier of the test's own stays as it is."""
    from epsball import data as datasets
    from epsball.classifier import Classifier

    dataset = datasets.load(data)
    if isinstance(model, str):
        from epsball.cli.common import Common, load_model
        from epsball.cli.fitting import fitting

        dataset = fitting(model, dataset, seed)
        loaded = load_model(model, dataset, Common(seed=seed, device="cpu"))
        return loaded.classifier(low=ball.low, high=ball.high), dataset
    if isinstance(model, Classifier):
        return model, dataset
    return Classifier(model, low=ball.low, high=ball.high), dataset
