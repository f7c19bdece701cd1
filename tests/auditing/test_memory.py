import weakref

import pyarrow
import pytest
import torch

import epsball as eb
from epsball.auditing import showing
from epsball.auditing.evidence import ShardEvidence, Witnesses
from epsball.auditing.folder import RunFolder

COUNT, SHARD = 2000, 250
BALL = eb.Ball("linf", "0.1")
CHEAP = {"attack": "fgsm", "certificates": "none", "limit": False, "diagnosis": False, "shard_size": SHARD}


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return eb.Classifier(torch.nn.Linear(4, 3))


@pytest.fixture(scope="module")
def data(classifier):
    x = torch.rand(COUNT, 4, generator=torch.Generator().manual_seed(0))
    return x, classifier.logits(x).argmax(1)


@pytest.fixture(scope="module")
def run(classifier, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory") / "run"
    before = pyarrow.total_allocated_bytes()
    found = eb.audit(classifier, data, BALL, folder=folder, **CHEAP)
    return found, pyarrow.total_allocated_bytes() - before


def test_tables_of_a_run_in_a_folder_are_mapped(run, classifier, data):
    found, held = run
    size = found.evidence.nbytes + found.ledger.nbytes
    assert held < 0.2 * size
    memory = eb.audit(classifier, data, BALL, **CHEAP)
    assert found.evidence.equals(memory.evidence)


def test_tables_of_a_finished_run_are_mapped_when_it_is_called_again(run, classifier, data):
    found, _ = run
    before = pyarrow.total_allocated_bytes()
    again = eb.audit(classifier, data, BALL, folder=found.folder, **CHEAP)
    assert pyarrow.total_allocated_bytes() - before < 0.2 * (again.evidence.nbytes + again.ledger.nbytes)
    assert again.evidence.equals(found.evidence)
    assert again.manifest == found.manifest


def test_witnesses_of_one_shard_at_a_time_are_in_memory(run, classifier, data, monkeypatch):
    found, _ = run
    assert len(found.witnesses.index) > 0.05 * COUNT
    alive: list[weakref.ref] = []
    read = RunFolder._witnesses

    def watched(folder: RunFolder, shard: int) -> Witnesses:
        witnesses = read(folder, shard)
        assert sum(one() is not None for one in alive) <= 2  # a loop's last one, and the next
        alive.append(weakref.ref(witnesses.x_adv))
        return witnesses

    monkeypatch.setattr(RunFolder, "_witnesses", watched)
    (found.folder / showing.SHOWN).unlink()
    again = eb.audit(classifier, data, BALL, folder=found.folder, **CHEAP)
    assert again.manifest == found.manifest
    assert len(alive) >= COUNT // SHARD
    assert all(isinstance(shard, ShardEvidence) for shard in again.shards)
