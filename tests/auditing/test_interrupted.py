"""Ctrl-C in an audit: it reaches the caller, costs one batch at most, and the run goes on to the same bytes."""

from importlib import import_module

import pytest
import torch

import epsball as eb
from auditing.cases import BALL, case
from epsball.attacks import PGD


class Stopping(PGD):
    """PGD that is interrupted in one of its calls."""

    calls = 0
    stop_at = 0

    def __call__(self, query, ball, *, keys):
        type(self).calls += 1
        if type(self).calls == type(self).stop_at:
            raise KeyboardInterrupt
        super().__call__(query, ball, keys=keys)


@pytest.fixture
def audited(monkeypatch):
    """Return a function that audits 60 examples in shards of 40, in searches of 10, interrupted at a call or not."""
    monkeypatch.setattr(import_module("epsball.auditing.audit"), "SHARD", 40)
    monkeypatch.setattr(import_module("epsball.certificates.certify"), "BATCH", 10)
    monkeypatch.setattr("epsball.auditing.fingerprint.STORED_TYPES", {Stopping: "stopping"}, raising=True)
    classifier, x, y = case(60)

    def audit(stop_at=0, **options):
        Stopping.calls, Stopping.stop_at = 0, stop_at
        settings = {"attack": Stopping(steps=5), "batch_size": 10, "certificates": "interval", "limit": False}
        return eb.audit(classifier, (x, y), BALL, **{**settings, **options})

    return audit


def test_an_interruption_costs_one_batch_and_the_run_ends_with_the_same_bytes(audited, tmp_path):
    whole = audited(folder=tmp_path / "whole")
    calls = Stopping.calls
    # The second run gets through two searches more than the first, the third through all that are left.
    for stop_at, partly in ((2, 40), (3, 40)):
        with pytest.raises(KeyboardInterrupt) as stop:
            audited(stop_at, folder=tmp_path / "run")
        assert stop.value.partial.interrupted
        assert len(stop.value.partial.evidence) == partly
    again = audited(folder=tmp_path / "run")
    assert Stopping.calls == calls - 1 - 2
    assert again.evidence.equals(whole.evidence)
    names = sorted(file.relative_to(tmp_path / "whole") for file in (tmp_path / "whole").rglob("*"))
    assert names == sorted(file.relative_to(tmp_path / "run") for file in (tmp_path / "run").rglob("*"))
    for name in names:
        if name.name.startswith(("timing-", ".")):
            continue
        if name.suffix in (".arrow", ".safetensors"):
            assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_without_a_folder_what_is_known_travels_on_the_exception(audited):
    whole = audited()
    with pytest.raises(KeyboardInterrupt) as stop:
        audited(4)
    known = stop.value.partial
    evidence, expected = known.evidence.to_pandas(), whole.evidence.to_pandas()
    assert len(evidence) == 40
    searched = evidence["attack.forwards"] > 0
    assert searched.sum() >= 20
    for column in ("verdict", "attack.margin", "certificate.margin"):
        assert evidence[searched][column].equals(expected[:40][searched][column])
    assert known.chain.places["certified accuracy"].value == expected[:40]["certificate.certified"].mean()
    assert "interrupted: this is about the first 40 examples" in str(known)
    assert known.to_json()["interrupted"]


def test_certificates_that_are_finished_are_kept(audited, monkeypatch, tmp_path):
    plain = import_module("epsball.certificates.certify").run_cascade
    calls = []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    monkeypatch.setattr(import_module("epsball.certificates.certify"), "run_cascade", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        audited(folder=tmp_path / "run")
    partial = stop.value.partial
    assert int(torch.tensor(partial.evidence["certificate.margin"].is_valid().to_pylist()).sum()) == 20
    audited(folder=tmp_path / "run")
    # The first example of each call, six batches, and the one that was interrupted.
    assert len(calls) == 2 + 6 + 1
