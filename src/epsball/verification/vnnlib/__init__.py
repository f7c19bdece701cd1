"""VNN-LIB: queries about what a network returns on a set of inputs, read exactly."""

from epsball.verification.vnnlib.cases import Case, cases_of
from epsball.verification.vnnlib.formula import And, Comparison, Formula, LinearForm, Or, Variable
from epsball.verification.vnnlib.query import Query, TensorDeclaration, or_packed, read_query

__all__ = [
    "And",
    "Case",
    "Comparison",
    "Formula",
    "LinearForm",
    "Or",
    "Query",
    "TensorDeclaration",
    "Variable",
    "cases_of",
    "or_packed",
    "read_query",
]
