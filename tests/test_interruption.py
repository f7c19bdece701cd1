"""Ctrl-C reaches the caller of every verb, with what was found until then."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from itertools import count

import numpy as np
import pytest
import torch

import epsball as eb
from epsball import Ball, Classifier
from epsball.training import Recipe
from helpers import examples, mlp

BALL = Ball("linf", 0.1)


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


def stopping(at):
    """Return a network interrupted in its forward call number `at`, and the numbers of calls made so far."""
    module, calls, numbers = mlp(), [], count(1)

    def hook(*_):
        calls.append(next(numbers))
        if calls[-1] == at:
            raise KeyboardInterrupt

    module.register_forward_pre_hook(hook)
    return module, calls


def train(module, x, y):
    return eb.train(module, (x, y), objective="pgd,steps=2", ball=BALL, recipe=Recipe(epochs=2, batch_size=20))


def audit(module, x, y):
    return eb.audit(Classifier(module), (x, y), BALL, attack="pgd,steps=3", certificates="interval", batch_size=20)


VERBS = {
    "attack": lambda module, x, y: eb.attack(
        Classifier(module), x, y, BALL, method="pgd,steps=3", stop="never", batch_size=20
    ),
    "minimum norm": lambda module, x, y: eb.attack(
        Classifier(module), x, y, BALL, method="fmn,steps=3", stop="never", batch_size=20
    ),
    "sensitivity": lambda module, x, y: eb.sensitivity(
        Classifier(module), x, y, BALL, steps=(1, 2), factors=(), starts=(), restarts=()
    ),
    "certify": lambda module, x, y: eb.certify(Classifier(module), x, y, BALL, method="interval"),
    "audit": audit,
    "train": train,
    "cka": lambda module, x, y: eb.cka(module, mlp(seed=1), x, batch_size=10),
    "similarities": lambda module, x, y: eb.similarities({"a": module, "b": mlp(seed=1)}, x, batch_size=10),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_interruption_in_any_forward_call_reaches_the_caller_and_ends_the_work(verb):
    x, y = examples(60)[0], torch.arange(60) % 4
    module, calls = stopping(0)
    VERBS[verb](module, x, y)
    total = len(calls)
    later = np.random.default_rng(len(verb)).integers(2, total, size=2).tolist()
    for at in {1, *later, total}:
        module, calls = stopping(at)
        with pytest.raises(KeyboardInterrupt) as stop:
            VERBS[verb](module, x, y)
        partial = stop.value.partial
        assert partial is None or partial.interrupted
        # What a batch in progress has found is verified: four passes at most, for the nearest points.
        assert len(calls) <= at + 5
        assert all(parameter.requires_grad for parameter in module.parameters())


def test_what_was_found_before_a_second_interruption_is_kept():
    x, _ = examples(60)
    y = mlp()(x).argmax(1)
    module, calls = stopping(0)
    whole = VERBS["attack"](module, x, y)
    last = len(calls)
    module, calls = mlp(), []

    def hook(*_):
        calls.append(1)
        if len(calls) >= last - 1:
            raise KeyboardInterrupt

    module.register_forward_pre_hook(hook)
    with pytest.raises(KeyboardInterrupt) as stop:
        VERBS["attack"](module, x, y)
    assert torch.equal(stop.value.partial.margin[:40], whole.margin[:40])
    assert stop.value.partial.margin[40:].isnan().all()


INTERRUPTED = """
import os, signal, torch

class Slow(torch.nn.Module):
    calls = 0
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(64, 10)
    def forward(self, x):
        Slow.calls += 1
        if Slow.calls == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return self.layer(x.flatten(1))
"""


def test_the_command_line_keeps_what_it_found_and_exits_with_130(tmp_path):
    (tmp_path / "slow.py").write_text(INTERRUPTED)
    command = [sys.executable, "-m", "epsball", "attack", "slow.py:Slow", "digits,first=60", "--ball", "linf:0.01"]
    options = ["--method", "pgd,steps=20", "--batch-size", "20", "--json"]
    # A process started in the background ignores the signal unless this is put right.
    done = subprocess.run(
        [*command, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 130, done.stderr
    assert '"interrupted": true' in done.stdout
    assert "interrupted; an attack does not go on from there" in done.stderr
