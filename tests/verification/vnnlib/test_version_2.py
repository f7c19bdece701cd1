"""VNN-LIB 2.0 through the package `vnnlib`."""

from fractions import Fraction
from importlib.util import find_spec

import pytest

from epsball.errors import InputError, MissingExtra, UnsupportedOperation
from epsball.verification.vnnlib import And, Comparison, LinearForm, Or, Variable, read_query

HEAD = "(vnnlib-version <2.0>)\n(declare-network f (declare-input A float32 [1,3]) (declare-output B float32 []))\n"
needs_package = pytest.mark.skipif(find_spec("vnnlib") is None, reason="the extra vnnlib is not installed")


def read(tmp_path, text):
    (tmp_path / "query.vnnlib").write_text(text)
    return read_query(tmp_path / "query.vnnlib")


@pytest.mark.skipif(find_spec("vnnlib") is not None, reason="the extra vnnlib is installed")
def test_without_the_package_the_extra_is_named(tmp_path):
    with pytest.raises(MissingExtra, match=r"epsball\[vnnlib\]"):
        read(tmp_path, HEAD + "(assert (<= B 1.0))")


@needs_package
def test_a_query_is_read_exactly(tmp_path):
    found = read(
        tmp_path, HEAD + "(assert (or (< (* -1.50 A[0,1]) 0.1000000000000000000001) (== B (+ (- B) 1.0 A[0,2]))))"
    )
    tenth = Fraction("0.1000000000000000000001")
    left = LinearForm.of({Variable("Y", 0): Fraction(2), Variable("X", 2): Fraction(-1)}, Fraction(-1))
    assert found.formula == And(
        (
            Or(
                (
                    Comparison(LinearForm.of({Variable("X", 1): Fraction(-3, 2)}, -tenth), strict=True),
                    And((Comparison(left), Comparison(left.times(Fraction(-1))))),
                )
            ),
        )
    )
    assert (found.version, found.network, found.element) == ("2.0", "f", "float32")
    assert (found.input.name, found.input.shape, found.output.shape, found.output.size) == ("A", (1, 3), (), 1)
    assert found.formula.parts[0].parts[0].line == 3


WRONG = {
    "(assert (<= C 1.0))": (InputError, "line 3"),
    "(assert (<= A[0,3] 1.0))": (InputError, "line 3: Index out of bounds"),
    "(assert (<= A[0,1]": (InputError, "not a query of VNN-LIB 2.0"),
    "(assert (<= (* A[0,1] B) 1.0))": (UnsupportedOperation, "line 3: a product of variables is not linear"),
}


@needs_package
@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named(tmp_path, text):
    kind, message = WRONG[text]
    with pytest.raises(kind, match=message):
        read(tmp_path, HEAD + text)


TWO = "(declare-network g (declare-input C float32 [1]) (declare-output D float32 [1]))\n"
HIDDEN = (
    '(vnnlib-version <2.0>)(declare-network f (declare-input A Real [1]) (declare-hidden H Real [1] "h") '
    "(declare-output B Real [1]))(assert (<= B[0] 1.0))"
)


@needs_package
@pytest.mark.parametrize(
    ("text", "message"),
    [(HEAD + TWO + "(assert (<= B 1.0))", "2 networks"), (HIDDEN, "hidden nodes")],
)
def test_queries_about_more_are_refused(tmp_path, text, message):
    with pytest.raises(UnsupportedOperation, match=message):
        read(tmp_path, text)
