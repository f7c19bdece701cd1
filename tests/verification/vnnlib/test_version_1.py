"""The reader of VNN-LIB 1.0: what is written is read exactly, and what is wrong is named with its line."""

import gzip
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsball.errors import EpsballError, InputError, UnsupportedOperation
from epsball.verification.vnnlib import And, Comparison, LinearForm, Variable, read_query
from epsball.verification.vnnlib.version_1 import read_version_1
from verification.vnnlib.formulas import built, trees

TREES = trees(st.decimals(-1000, 1000, allow_nan=False, places=12).map(Fraction), most_terms=3)
DECLARED = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"


def written(formula):
    """Return a formula as text."""
    if isinstance(formula, Comparison):
        terms = "".join(f" (* {decimal(c)} {v})" for v, c in formula.form.terms)
        return f"({'<' if formula.strict else '<='} (+ {decimal(formula.form.constant)}{terms}) 0)"
    return f"({'and' if isinstance(formula, And) else 'or'} {' '.join(map(written, formula.parts))})"


def decimal(number):
    """Return a fraction of twelve places as decimal digits."""
    whole, rest = divmod(abs(number) * 10**12, 10**12)
    return f"{'-' if number < 0 else ''}{whole}.{int(rest):012d}"


@given(TREES)
def test_what_is_written_is_read_exactly(tree):
    formula = built(tree)
    inputs, outputs, found = read_version_1(f"{DECLARED}(assert {written(formula)})", "file")
    assert (inputs, outputs, found) == (2, 1, And((formula,)))


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-05", "1/100000"), ("-1.5E+3", "-1500"), ("0.1", "1/10"), (".5", "1/2"), ("2.", "2"), ("(- 3)", "-3")],
)
def test_numbers_are_exact_fractions(text, value):
    _, _, found = read_version_1(f"{DECLARED}(assert (<= X_0 {text}))", "file")
    assert found.parts[0].form.constant == -Fraction(value)


def test_terms_are_collected_and_cancel():
    _, _, found = read_version_1(f"{DECLARED}(assert (>= (- (* 2 (+ X_0 Y_0) 3) X_0 Y_0) (- (* 5 Y_0) 1)))", "file")
    assert found.parts[0].form == LinearForm.of({Variable("X", 0): Fraction(-5)}, Fraction(-1))


WRONG = {
    "(assert (<= X_0 1)": "line 4: a '(' is never closed",
    ")": "line 4: a ')' closes nothing",
    "assert": "line 4: 'assert' stands outside",
    "(asert (<= X_0 1))": "unknown command 'asert'; VNN-LIB 1.0 has declare-const and assert. Did you mean 'assert'",
    "(assert (<= X_0 1) (<= X_1 1))": "assert has 2 formulas",
    "(assert (<= X_2 1))": "line 4: X_2 is not declared",
    "(assert (<= Y_1 1))": "line 4: Y_1 is not declared",
    "(assert (<= x 1))": "'x' is neither a number nor a variable",
    "(assert (<= X_0 1 2))": "'<=' compares 3 terms",
    "(assert\n (and\n  (<= X_0)))": "line 6: '<=' compares 1 terms",
    "(assert (and))": "'and' joins nothing",
    "(assert X_0)": "'X_0' is not a formula",
    "(assert (=> (<= X_0 1) (<= X_1 1)))": "formulas with '=>' are not read",
    "(assert (<= (* X_0 X_1) 1))": "a product of variables is not linear",
    "(assert (<= (/ X_0 2) 1))": "terms with '/' are not read",
    "(assert (<= (+) 1))": "'+' has no terms",
    "(assert (<= X_0 1e99999))": "the exponent of 1e99999 is beyond 10000",
    "(declare-const X_0 Real)": "X_0 is declared again (before in line 1)",
    "(declare-const X_3 Real)": "X_2 is not declared; inputs are numbered from 0",
    "(declare-const Z Real)": "declares no variable",
    "(declare-const X_2 Int)": "declares no variable",
    f"(assert {'(and ' * 300}(<= X_0 1){')' * 300})": "nested more than 200 deep",
    f"(assert (<= {'(- ' * 300}X_0{')' * 300} 1))": "nested more than 200 deep",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named_with_its_line(text):
    with pytest.raises(EpsballError) as found:
        read_version_1(DECLARED + text, "file")
    assert str(found.value).startswith("file, line ")
    assert WRONG[text] in str(found.value)
    assert isinstance(found.value, InputError | UnsupportedOperation)


def test_a_query_declares_inputs_and_outputs():
    with pytest.raises(InputError, match="no outputs are declared"):
        read_version_1("(declare-const X_0 Real)", "file")


@given(st.text(alphabet="()+-*<>=; \nXY_01.assertdeclconR", max_size=60))
def test_any_text_is_read_or_refused_by_name(text):
    with suppress(InputError, UnsupportedOperation):
        read_version_1(DECLARED + text, "file")


def test_gzipped_and_marked_files_are_read(tmp_path):
    text = f"; a comment\n{DECLARED}(assert (<= X_0 0.1))"
    (tmp_path / "plain.vnnlib").write_text(text)
    (tmp_path / "packed.vnnlib").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "marked.vnnlib").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    plain, *others = (read_query(tmp_path / f"{name}.vnnlib").formula for name in ("plain", "packed", "marked"))
    assert all(other == plain for other in others)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8bnot", "not a text, plain or gzipped"),
        (b"\xff\xfe", "not a text"),
        (b"(vnnlib-version <3.0>)", "VNN-LIB 3.0; versions 1.0 and 2.x are read"),
        (f"{DECLARED}(assert (<= X_0 1e40))".encode(), "line 4: a number is beyond 1e30"),
    ],
)
def test_files_that_are_no_queries_are_refused(tmp_path, content, message):
    (tmp_path / "query.vnnlib").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_query(tmp_path / "query.vnnlib")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_query(tmp_path / "nothing.vnnlib")
