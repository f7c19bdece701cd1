from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsball.errors import InputError
from epsball.models import option_values


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6))
def test_a_fraction_is_rounded_once(a, b):
    assert option_values.number(f"{a}/{b}") == float(Fraction(a, b))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_itself(x):
    assert option_values.number(repr(x)) == x


def test_decimals_in_fractions():
    assert option_values.number("125.3/255") == float(Fraction("125.3") / 255)
    assert option_values.numbers("0.4914:0.4822:0.4465") == (0.4914, 0.4822, 0.4465)


@pytest.mark.parametrize("text", ["1/0", "nan", "inf", "1e999", "", "x", "1/2/3"])
def test_what_is_not_a_number_is_refused(text):
    with pytest.raises(ValueError, match="."):
        option_values.number(text)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=4))
def test_shapes_and_lists_come_back(sizes):
    assert option_values.shape("x".join(map(str, sizes))) == tuple(sizes)
    assert option_values.integers(":".join(map(str, sizes))) == tuple(sizes)


def build(shape, classes, width: int = 3, *, rates: tuple[float, ...] = (), deep=False, note=None):
    return shape, classes, width, rates, deep, note


def test_texts_are_read_by_annotation_default_or_looks():
    options = {"width": "7", "rates": "0.5:1/4", "deep": "true", "note": "some text"}
    arguments = option_values.keyword_arguments(build, "build", options, {"shape": (4,), "classes": 2})
    assert build(**arguments) == ((4,), 2, 7, (0.5, 0.25), True, "some text")


@pytest.mark.parametrize(("text", "value"), [("3", 3), ("0.5", 0.5), ("true", True), ("1:2", (1, 2)), ("a/b", "a/b")])
def test_by_looks(text, value):
    arguments = option_values.keyword_arguments(build, "build", {"note": text}, {"shape": (1,), "classes": 1})
    assert arguments["note"] == value
    assert type(arguments["note"]) is type(value)


def test_the_text_goes_before_the_data():
    arguments = option_values.keyword_arguments(build, "build", {"classes": "5"}, {"shape": (4,), "classes": 2})
    assert arguments["classes"] == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widht": "7"}, "no option 'widht'. Did you mean 'width'"),
        ({"width": "wide"}, "width=wide cannot be read .* width=10"),
        ({}, "build needs 'shape' and 'classes': add ,shape=1x28x28,classes=10"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        option_values.keyword_arguments(build, "build", options, {"shape": None, "classes": None})
