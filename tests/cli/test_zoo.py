"""``epsball zoo``: what it prints, and what it refuses."""

import json

from epsball.chapter.zoo import training
from epsball.chapter.zoo.bases import BASES
from epsball.cli import main
from epsball.masking.zoo import DEFENCES


def test_the_list_has_networks_and_defences(capsys):
    assert main(["zoo", "list"]) == 0
    text = capsys.readouterr().out
    assert all(base.name in text for base in BASES)
    assert all(name in text for name in DEFENCES)
    assert main(["zoo", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["defence"] for row in document["defences"]] == list(DEFENCES)


def test_training_prints_what_is_there(capsys, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(training, "train_all", lambda items, folders, out, seed: asked.append((items, folders)))
    arguments = ["zoo", "train", "cifar-cascade", "--out", str(tmp_path), "--cifar10", "DIR"]
    assert main(arguments) == 0
    ((items, folders),) = asked
    assert [item.name for item in items] == ["cifar-standard", "cifar-fgsm-rs", "cifar-cascade"]
    assert list(folders) == ["cifar10"]
    assert capsys.readouterr().out.startswith("name\tmodel\tdata")


def test_missing_folders_and_unknown_names_are_bad_input(capsys, tmp_path):
    assert main(["zoo", "train", "cifar-pgd", "--out", str(tmp_path)]) == 2
    assert "--cifar10 DIR" in capsys.readouterr().err
    assert main(["zoo", "train", "cifar-pdg", "--out", str(tmp_path)]) == 2
    assert "Did you mean 'cifar-pgd'" in capsys.readouterr().err
