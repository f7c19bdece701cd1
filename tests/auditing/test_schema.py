"""Runs of other schema versions: older ones are read, newer ones refused by name, by everything that reads a run."""

import json
import shutil

import pytest
import torch

import epsball as eb
from epsball.auditing.manifest import SCHEMA
from epsball.auditing.reading import Reading
from epsball.errors import InputError

X = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
DATA = (X, X.argmax(1))
BALL = eb.Ball("linf", 0.05)
BARE = {"attack": "fgsm", "certificates": "none", "limit": False, "diagnosis": False}


def classifier(scale):
    linear = torch.nn.Linear(4, 4)
    with torch.no_grad():
        linear.weight.copy_(scale * torch.eye(4))
        linear.bias.zero_()
    return eb.Classifier(linear)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, scale in (("a", 1.0), ("b", 2.0)):
        eb.audit(classifier(scale), DATA, BALL, folder=folder / name, **BARE)
    return folder


@pytest.fixture
def copied(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "copy")
    return tmp_path / "copy"


READERS = {
    "verify_run": lambda folder: eb.verify_run(folder / "a"),
    "compare": lambda folder: eb.compare([folder / "b", folder / "a"]),
    "baseline": lambda folder: eb.audit(classifier(2.0), DATA, BALL, baseline=folder / "a", **BARE),
    "gate": lambda folder: eb.gate(classifier(2.0), DATA, BALL, baseline=folder / "a", max_newly_broken=20),
    "resume": lambda folder: eb.audit(classifier(1.0), DATA, BALL, folder=folder / "a", **BARE),
    "merge": lambda folder: eb.merge([folder / "a"], folder / "merged"),
    "reading": lambda folder: Reading.read(folder / "a"),
}


def says(folder, name, **entries):
    document = json.loads((folder / name).read_text()) | entries
    (folder / name).write_text(json.dumps(document))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("finished", [True, False])
def test_a_later_schema_is_refused_by_name(copied, reader, finished):
    says(copied / "a", "run.json", schema=SCHEMA + 1)
    if finished:
        says(copied / "a", "manifest.json", schema=SCHEMA + 1)
    else:
        (copied / "a" / "manifest.json").unlink()
    with pytest.raises(InputError, match=rf"a holds a run of schema {SCHEMA + 1}; this version knows {SCHEMA}"):
        READERS[reader](copied)


@pytest.mark.parametrize("reader", [name for name in READERS if name not in ("merge", "gate")])
def test_an_older_schema_is_read(copied, reader):
    record = json.loads((copied / "a" / "run.json").read_text())
    del record["schema"]
    (copied / "a" / "run.json").write_text(json.dumps(record))
    (copied / "a" / "manifest.json").unlink()
    READERS[reader](copied)


@pytest.mark.parametrize("schema", ["new", None, 1.5])
def test_a_schema_that_is_none_is_refused(copied, schema):
    says(copied / "a", "run.json", schema=schema)
    with pytest.raises(InputError, match="its schema is"):
        eb.verify_run(copied / "a")
