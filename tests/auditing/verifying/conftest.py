"""A run that is verified, and copies of it that tests change."""

import shutil

import pytest

import epsball as eb
from auditing.cases import case


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Return a run with broken, certified and misclassified examples, and what it was made of."""
    classifier, x, y = case(40)
    folder = tmp_path_factory.mktemp("run") / "audit"
    audit = eb.audit(classifier, (x, y), eb.Ball("linf", 0.02), attack="pgd,steps=5", folder=folder)
    verdicts = audit.chain.verdicts
    assert min(verdicts[name] for name in ("broken", "certified", "misclassified")) > 0
    return folder, classifier, (x, y), audit


@pytest.fixture
def copied(run, tmp_path):
    shutil.copytree(run[0], tmp_path / "copy")
    return tmp_path / "copy", *run[1:]
