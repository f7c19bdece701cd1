"""The zoo's training on a few digits: what is written, found again, and not trained twice."""

import json
from dataclasses import replace

import pytest
import torch

from epsball import InputError, models
from epsball.chapter.zoo import places, training
from epsball.chapter.zoo.bases import BASES, Base
from epsball.chapter.zoo.distillation import Distillation
from epsball.chapter.zoo.loading import defended, identifier
from epsball.chapter.zoo.parts import PARTS, load_part
from epsball.masking.zoo import DEFENCES
from epsball.masking.zoo.published.thermometer import Thermometer

RECIPE = {"epochs": 1, "optimiser": "adam", "lr": 2e-3, "weight_decay": 0.0, "holdout": 0.05}


def small(name, **changes):
    plain = Base(
        name=name,
        data="digits",
        model="conv_net,widths=8",
        objective="standard",
        ball="linf:0.1",
        shows="a test",
        recipe=RECIPE,
        examples=200,
    )
    return replace(plain, **changes)


@pytest.fixture
def bases(monkeypatch):
    """Put small networks on the digits in place of the zoo's."""
    made = (
        small("distilled", objective="distillation", start="plain", source="plain"),
        small("cascade", objective="cascade,steps=2", start="plain", source="plain"),
        small("plain"),
        small("codes", encoder=Thermometer),
    )
    for module in (places, training):
        monkeypatch.setattr(module, "BASES", made)
    monkeypatch.setattr(training, "PARTS", ())
    return {base.name: base for base in made}


def test_networks_come_after_those_they_need_and_are_trained_once(bases, tmp_path):
    chosen = training.find(["distilled", "cascade", "codes"])
    names = [item.name for item in chosen]
    assert set(names) == set(bases)
    assert names.index("plain") < min(names.index("distilled"), names.index("cascade"))
    training.train_all(chosen, {}, tmp_path)
    facts = {name: (tmp_path / name / "facts.json").read_text() for name in names}
    weights = (tmp_path / "plain" / "weights.safetensors").stat().st_mtime_ns
    training.train_all(chosen, {}, tmp_path)
    assert facts == {name: (tmp_path / name / "facts.json").read_text() for name in names}
    assert weights == (tmp_path / "plain" / "weights.safetensors").stat().st_mtime_ns
    lines = (tmp_path / "INDEX.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["name", *bases]
    assert {len(line.split("\t")) for line in lines} == {6}
    loaded = models.load(lines[1].split("\t")[1])
    assert loaded.classifier().logits(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_a_network_behind_codes_is_loaded_without_its_encoder(bases, tmp_path):
    training.train_all(training.find(["codes"]), {}, tmp_path)
    assert places.network("codes", tmp_path)(torch.rand(2, 16, 8, 8)).shape == (2, 10)
    classifier = DEFENCES["BRRG18"].build(places.network("codes", tmp_path))
    stored = json.loads((tmp_path / "codes" / "facts.json").read_text())
    assert classifier.logits(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    assert 0 <= stored["natural"] <= 1


def test_another_recipe_in_the_same_folder_is_refused(bases, tmp_path):
    training.train_base(bases["plain"], {}, tmp_path)
    with pytest.raises(InputError, match="another configuration"):
        training.train_base(replace(bases["plain"], recipe={**RECIPE, "lr": 1e-3}), {}, tmp_path)


def test_what_is_missing_is_said_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(InputError, match="epsball zoo train cifar-standard --out"):
        places.network("cifar-standard", tmp_path)
    with pytest.raises(InputError, match="epsball zoo train digits-prior --out"):
        load_part("digits-prior", tmp_path)
    with pytest.raises(InputError, match=r"its folder is not given: --mnist DIR"):
        training.train_all(training.find(["mnist-standard"]), {}, tmp_path)
    with pytest.raises(InputError, match="Did you mean 'cifar-pgd'"):
        training.find(["cifar-pdg"])
    with pytest.raises(InputError, match="Did you mean 'jpeg'"):
        defended("jpg", tmp_path)


def test_the_list_is_whole():
    names = {base.name for base in BASES} | {part.name for part in PARTS}
    assert {item.base for item in DEFENCES.values()} <= names
    assert {item.part for item in DEFENCES.values()} <= names | {None}
    assert {name for base in BASES for name in (base.start, base.source) if name} <= names
    assert sum(base.start is None for base in BASES) <= 12
    assert all(identifier(name).isidentifier() for name in DEFENCES)


def test_distillation_is_the_cross_entropy_of_softened_outputs():
    from epsball.randomness import Keys
    from epsball.training import Context

    teacher, student = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    x, y, rows = torch.rand(5, 4), torch.zeros(5, dtype=torch.int64), torch.arange(5)
    context = Context(step=0, keys=Keys.of_positions(rows, 0), positions=rows, total=5, state={})
    losses = Distillation(teacher=teacher, temperature=10.0)(student, x, y, context).examples
    target, log_p = teacher(x).softmax(1), (student(x) / 10).log_softmax(1)
    torch.testing.assert_close(losses, -(target * log_p).sum(1))


@pytest.mark.slow
def test_the_prior_learns_the_digits_and_the_files_name_defended_networks(tmp_path):
    training.train_all(training.find(["digits-standard", "digits-prior"]), {}, tmp_path)
    facts = json.loads((tmp_path / "digits-prior" / "facts.json").read_text())
    assert facts["nats per pixel"] < 1.6
    loaded = models.load(f"{tmp_path / 'zoo.py'}:SKN18", shape=(1, 8, 8), classes=10)
    assert loaded.module(torch.rand(2, 1, 8, 8)).shape == (2, 10)
