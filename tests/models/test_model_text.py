from fractions import Fraction
from pathlib import Path
from string import ascii_lowercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsball.errors import InputError
from epsball.models.model_text import parse_model_text


def test_all_parts():
    text = "wide_resnet_34_10@a/b.pt,mean=0.5:1/2:125.3/255,std=1/4,shape=3x32x32,classes=10,ignore=sub_block1,depth=3"
    parsed = parse_model_text(text)
    assert (parsed.name, parsed.weights) == ("wide_resnet_34_10", Path("a/b.pt"))
    assert (parsed.mean, parsed.std) == ((0.5, 0.5, float(Fraction("125.3") / 255)), (0.25,))
    assert (parsed.shape, parsed.classes, parsed.ignore) == ((3, 32, 32), 10, ("sub_block1",))
    assert (parsed.options, parsed.text) == ({"depth": "3"}, text)


@pytest.mark.parametrize(
    ("text", "name", "weights"),
    [
        ("cnn_a", "cnn_a", None),
        ("cnn_a@me@home/w.pt", "cnn_a", "me@home/w.pt"),
        ("me@home/net.py:build", "me@home/net.py:build", None),
        ("me@home/net.py:build@w.pt", "me@home/net.py:build", "w.pt"),
        ("./me@home/model.pt2", "./me@home/model.pt2", None),
        ("timm:resnet18.a1_in1k@w.pt", "timm:resnet18.a1_in1k", "w.pt"),
        ("cnn_a@card.json", "cnn_a", "card.json"),
    ],
)
def test_where_the_weights_begin(text, name, weights):
    parsed = parse_model_text(text)
    assert parsed.name == name
    assert parsed.weights == (None if weights is None else Path(weights))


@given(
    st.text(ascii_lowercase + digits + "_", min_size=1, max_size=12),
    st.text(ascii_lowercase + "./@-", max_size=12).map(lambda stem: f"{stem}.pth"),
)
def test_name_and_weights_come_back(name, weights):
    parsed = parse_model_text(f"{name}@{weights},classes=3")
    assert (parsed.name, parsed.weights, parsed.classes) == (name, Path(weights), 3)


@pytest.mark.parametrize(
    "option", ["mean=0.5:x", "std=1/0", "classes=0", "classes=ten", "shape=3x-1x2", "shape=3x32x", "mean=nan"]
)
def test_an_option_that_cannot_be_read_shows_how_it_is_written(option):
    with pytest.raises(InputError, match="cannot be read .* write it like"):
        parse_model_text(f"cnn_a,{option}")
