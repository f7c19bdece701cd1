"""The checker is what a sceptic must read: it stays small, and what it counts as code is all of its code."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

pytest.importorskip("flint", reason="the checker needs the extra replay")

import epsball_replay

_NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef


def code_lines(text: str) -> int:
    """Return the number of lines that hold code: no blank ones, comments or docstrings."""
    bodies = [node.body for node in ast.walk(ast.parse(text)) if isinstance(node, _DOCUMENTED)]
    said = {
        line
        for body in bodies
        for part in body
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
        for line in range(part.lineno, (part.end_lineno or part.lineno) + 1)
    }
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in _NO_CODE]
    held = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    return len(held - said)


def test_what_counts_as_code() -> None:
    text = '"""A module."""\n\n# why\nx = (\n    1\n)\n\n\ndef f():\n    """Do."""\n    return x\n'
    assert code_lines(text) == 5


def test_the_checker_is_small() -> None:
    files = Path(epsball_replay.__file__).parent.glob("*.py")
    assert sum(code_lines(path.read_text()) for path in files) <= 1000
