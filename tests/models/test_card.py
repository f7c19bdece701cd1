import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.errors import InputError, ModelError
from epsball.files import write_json
from epsball.models import Card, load, read_card

names = st.text("aé 漢,=:", min_size=1)
finite = st.floats(allow_nan=False, allow_infinity=False)
documents = st.fixed_dictionaries(
    {
        "architecture": names,
        "weights": st.sampled_from(["model.safetensors", "a/b.safetensors"]),
        "mean": st.none() | st.lists(finite, min_size=1, max_size=3),
        "std": st.none() | st.lists(finite, min_size=1, max_size=3),
        "shape": st.lists(st.integers(1, 99), min_size=1, max_size=3),
        "classes": st.integers(1, 1000),
        "training": st.dictionaries(names, st.none() | st.integers() | names | st.lists(st.booleans())),
    }
)


@given(documents)
def test_a_card_comes_back_from_json(document):
    card = Card.from_json(document)
    assert json.loads(json.dumps(card.to_json())) == document
    assert Card.from_json(card.to_json()) == card


GOOD = {
    "architecture": "mlp,hidden=5",
    "weights": "model.safetensors",
    "mean": [0.5],
    "std": [0.25],
    "shape": [1, 2, 4],
    "classes": 3,
}


def test_provenance_may_be_left_out():
    assert Card.from_json(GOOD).training == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wieghts": "x"}, "no key 'wieghts'. Did you mean 'weights'"),
        ({"classes": None}, "classes is None"),
        ({"classes": True}, "classes is True; it is a positive integer"),
        ({"shape": [1, 0]}, "shape is 0"),
        ({"shape": "1x2"}, "list of positive integers"),
        ({"mean": ["0.5"]}, "list of numbers, or null"),
        ({"mean": 0.5}, "list of numbers, or null"),
        ({"training": []}, "training is \\[\\]; it is a JSON object"),
        ({"architecture": ""}, "architecture is ''"),
        ({"weights": "/etc/model.safetensors"}, "named relative to the card"),
        ({"weights": "../model.safetensors"}, "in its folder or below"),
        ({"weights": "model.pth"}, "a .safetensors file"),
    ],
)
def test_what_is_not_a_card_is_named(change, words):
    with pytest.raises(InputError, match=words):
        Card.from_json({**GOOD, **change})


def test_a_missing_key_and_a_wrong_document_are_named():
    with pytest.raises(InputError, match="lacks weights, std"):
        Card.from_json({key: value for key, value in GOOD.items() if key not in ("weights", "std")})
    with pytest.raises(InputError, match="this is a list"):
        Card.from_json([GOOD])


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Return the card of a small trained network."""
    module = load("mlp,hidden=5", shape=(1, 2, 4), classes=3).module
    safetensors.torch.save_file(module.state_dict(), tmp_path / "model.safetensors")
    write_json(tmp_path / "card.json", {**GOOD, "training": {"seed": 0}})
    return tmp_path / "card.json"


def test_a_card_loads_its_model(card):
    loaded = load(str(card), shape=(1, 2, 4), classes=10)
    stored = safetensors.torch.load_file(card.parent / "model.safetensors")
    assert all(torch.equal(loaded.module.state_dict()[key], tensor) for key, tensor in stored.items())
    assert (loaded.mean, loaded.std, loaded.shape, loaded.classes) == ((0.5,), (0.25,), (1, 2, 4), 3)
    assert (loaded.name, loaded.text, loaded.weights) == ("mlp", str(card), card.parent / "model.safetensors")
    assert loaded.card == read_card(card)
    assert loaded.architecture == loaded.card.architecture


def test_a_card_says_all_itself(card):
    for text, words in {f"{card},mean=0.1": "no option 'mean'", f"{card}@w.pth": "leave out @w.pth"}.items():
        with pytest.raises(InputError, match=words):
            load(text)
    with pytest.raises(InputError, match="takes inputs of shape 1x2x4, the data has 1x8x8"):
        load(str(card), shape=(1, 8, 8))


def test_a_card_for_other_weights_is_refused(card):
    write_json(card, {**GOOD, "architecture": "mlp,hidden=6"})
    with pytest.raises(ModelError, match="of another shape"):
        load(str(card))


@pytest.mark.parametrize(
    "name", ["{folder}/evil.py:build", "other.json", "m.pt2", "mlp@w.pth", "mlp,classes=3", "nothing"]
)
def test_opening_a_card_runs_no_code(name, card, trap):
    (card.parent / "evil.py").write_text(trap.code)
    write_json(card, {**GOOD, "architecture": name.format(folder=card.parent)})
    with pytest.raises(InputError, match=r"runs no code.*card.json@.*\.py:\w+ \(or .*\.py:\w+@.*model.safetensors"):
        load(str(card))
    assert not trap.sprung


OWN = """
import torch
def build(hidden: int, shape, classes):
    size = torch.Size(shape).numel()
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(size, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, classes)
    )
"""


def test_a_card_of_the_users_own_architecture_is_loaded_with_the_file_that_the_user_names(card):
    (card.parent / "own.py").write_text(OWN)
    mlp = load(str(card)).module
    write_json(card, {**GOOD, "architecture": "elsewhere/own.py:build,hidden=5"})
    loaded = load(f"{card}@{card.parent / 'own.py'}:build")
    x = torch.rand(3, 1, 2, 4)
    assert torch.equal(loaded.module(x), mlp(x))
    assert (loaded.mean, loaded.std, loaded.shape, loaded.classes) == ((0.5,), (0.25,), (1, 2, 4), 3)
    assert loaded.architecture == f"{card.parent / 'own.py'}:build,hidden=5"
    assert loaded.notes == ("read from card.json: mean=0.5, std=0.25, inputs of 1x2x4, 3 classes.",)
    with pytest.raises(InputError, match="written for the function 'build'; @.*:other names another"):
        load(f"{card}@{card.parent / 'own.py'}:other")
    write_json(card, GOOD)
    with pytest.raises(InputError, match="needs no Python file: leave out"):
        load(f"{card}@{card.parent / 'own.py'}:build")


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "\ud800"])
def test_a_damaged_card_is_named(content, tmp_path):
    path = tmp_path / "card.json"
    path.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(InputError, match="is not JSON"):
        read_card(path)
