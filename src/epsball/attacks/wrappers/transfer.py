"""Transfer: adversarial points of a surrogate, tried on the model under test."""

from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import registry
from epsball.attacks.engine.evaluator import Evaluator
from epsball.attacks.engine.judge import Judge
from epsball.attacks.engine.query import Query, SearchEnded
from epsball.attacks.engine.record import Record
from epsball.attacks.parts.attack import Attack
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import InputError, ModelError
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Transfer(Attack):
    """Attack a surrogate and try the points on the model under test, whose gradient is not needed.

    The surrogate's passes are counted in ``surrogate.passes``; the ledger holds those of the model
    under test, one per example.

    Parameters
    ----------
    surrogate
        A classifier of the same inputs and classes.
    method
        How to attack it: an attack, or the text of a registered one. It runs to its own end, because
        points of large margin transfer best.

    References
    ----------
    Papernot, McDaniel and Goodfellow, "Transferability in machine learning", 2016.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> surrogate = eb.Classifier(torch.nn.LeakyReLU())
    >>> method = eb.attacks.Transfer(surrogate=surrogate, method="pgd,steps=10")
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=method).broken
    tensor([True])
    """

    gradient_free: ClassVar[bool] = True

    surrogate: Classifier
    method: str | Attack = "pgd"

    def __post_init__(self) -> None:
        if not isinstance(self.surrogate, Classifier):
            raise InputError(f"the surrogate is a {type(self.surrogate).__name__}; give a Classifier.")
        method = registry.resolve(self.method)
        if registry.files_of(method):  # The object is recorded with the hashes of its files, a text is not.
            object.__setattr__(self, "method", method)

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name under which the ledger counts it."""
        return f"transfer {registry.resolve(self.method).name}"

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Try the points at which the surrogate is most wrong."""
        registry.resolve(self.method).check_norm(ball)
        query.begin(0)
        try:
            points = self._points(query, ball, keys)
        except ModelError as error:
            raise type(error)(f"of the surrogate: {error}") from error
        # In another dtype the surrogate's points may lie just outside the ball.
        query.logits(query.neighbourhood.project(points))

    def _points(self, query: Query, ball: Ball, keys: Keys) -> Tensor:
        """Return for each active example the point of its ball at which the surrogate's margin is lowest."""
        x = self.surrogate.to_model(query.x)
        with self.surrogate.in_use():
            judge = Judge(self.surrogate)
            with torch.no_grad():
                classes = self.surrogate.probe(x)
            if classes != query.classes:
                raise InputError(f"the surrogate has {classes} classes, the model {query.classes}; they must agree.")
            method = registry.resolve(self.method)
            record = Record(ball, x, query.y, query.index, judge.margins(x, query.y), box=method.domain == "box")
            search = Query(
                Evaluator(self.surrogate, "float32"),
                judge,
                record,
                attack=method.name,
                stop="never",
                budget=None,
                total=query.total,
                classes=classes,
            )
            with suppress(SearchEnded):
                method(search, ball, keys=keys)
        everyone = torch.arange(len(x), device=x.device)
        return record.candidates(everyone).to(query.x)
