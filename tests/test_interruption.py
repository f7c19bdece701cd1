"""Ctrl-C reaches the caller of every verb, with what was found until then."""

from importlib import import_module

import pytest
import torch

import epsball as eb
from epsball import Ball, Classifier
from helpers import examples, mlp


def after(calls, plain):
    """Return a function that does what `plain` does, interrupted at a later call."""
    seen = []

    def interrupted(*arguments, **options):
        seen.append(1)
        if len(seen) > calls:
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    return interrupted


def test_certify_carries_the_batches_that_are_finished(monkeypatch):
    module = import_module("epsball.certificates.certify")
    x, _ = examples(40)
    y = mlp()(x).argmax(1)
    whole = eb.certify(Classifier(mlp()), x, y, Ball("linf", 0.01), method="interval")
    monkeypatch.setattr(module, "run_cascade", after(1, module.run_cascade))
    with pytest.raises(KeyboardInterrupt) as stop:
        eb.certify(Classifier(mlp()), x, y, Ball("linf", 0.01), method="interval")
    partial = stop.value.partial
    assert partial.interrupted
    assert torch.equal(partial.margin[:32], whole.margin[:32])
    assert partial.margin[32:].isnan().all()
    assert not partial.certified[32:].any()
    assert "interrupted: 8 of 40 examples have no bound" in str(partial)


def test_optimal_risk_carries_the_radii_that_are_finished(monkeypatch):
    module = import_module("epsball.limits.levels")
    x, y = torch.tensor([[0.0], [0.2], [0.5], [0.9]]), torch.tensor([0, 1, 0, 1])
    whole = eb.optimal_risk(x, y, radii=[0.1, 0.2, 0.3])
    monkeypatch.setattr(module, "_two_classes", after(3, module._two_classes))
    with pytest.raises(KeyboardInterrupt) as stop:
        eb.optimal_risk(x, y, radii=[0.1, 0.2, 0.3])
    partial = stop.value.partial
    assert partial.curve == whole.curve[:2]
    assert partial.interrupted
    assert partial.to_json()["interrupted"]
    assert "interrupted" in str(partial)


def test_cka_carries_nothing(monkeypatch):
    monkeypatch.setattr("epsball.similarity.measure.moments", after(0, None))
    with pytest.raises(KeyboardInterrupt) as stop:
        eb.cka(torch.nn.Identity(), torch.nn.Identity(), torch.rand(20, 3))
    assert stop.value.partial is None
