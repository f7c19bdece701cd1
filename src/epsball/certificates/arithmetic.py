"""The rounding a bound has to cover: the verifier's own, and that of the deployed network."""

from dataclasses import dataclass

import torch

from epsball.errors import AssumptionError, lookup
from epsball.names import Semantics


@dataclass(frozen=True, kw_only=True)
class Format:
    """A binary floating-point format in round to nearest.

    Parameters
    ----------
    unit
        Unit roundoff u: fl(a op b) = (a op b)(1 + d) with abs(d) <= u, unless it underflows.
    tiny
        A bound on the absolute error of an operation that underflows.
    flushes
        Whether devices may take numbers below `tiny` for 0.
    """

    unit: float
    tiny: float
    flushes: bool = False

    def gamma(self, terms: int) -> float:
        """Return gamma_n = n u / (1 - n u), rounded up.

        A sum of n products (or n + 1 summands), in any order and with or without fused steps, is within
        gamma_n sum abs(a_i b_i) of its exact value (Higham, "Accuracy and Stability of Numerical
        Algorithms", 2002, section 3.1).
        """
        share = terms * self.unit
        if share > 0.25:
            raise AssumptionError(f"a sum of {terms} terms is beyond the error analysis of this format.")
        return share / (1 - share) * (1 + 2.0**-50)


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """What a bound claims, given by the roundings it covers.

    Parameters
    ----------
    name
        As recorded in certificates.
    own
        The format the verifier computes in; None leaves its rounding out, which proves nothing.
    deployed
        The format the network is run in; None for the real-valued network.

    Examples
    --------
    >>> REAL.deployed is None, FLOAT32.deployed.unit == 2.0**-24
    (True, True)
    """

    name: str
    own: Format | None
    deployed: Format | None


# With gradual underflow a product is off by at most 2^-1075; 2^-1060 leaves room for what this bound is multiplied by.
BINARY64 = Format(unit=2.0**-53, tiny=2.0**-1060)
# Devices may flush subnormal numbers to zero, so an underflow may cost the least normal number.
BINARY32 = Format(unit=2.0**-24, tiny=2.0**-126, flushes=True)

PLAIN = Arithmetic(name="plain", own=None, deployed=None)
REAL = Arithmetic(name="real", own=BINARY64, deployed=None)
FLOAT32 = Arithmetic(name="float32", own=BINARY64, deployed=BINARY32)

SLACK = 1 + 2.0**-10
"""A factor for the rounding of sums of error terms, which are non-negative: gamma_n for n up to 2^42."""

OVERFLOW = 2.0**127
"""Sums of magnitudes beyond this may overflow in float32, and so may anything else a kernel meets on its way."""


def arithmetic_of(semantics: Semantics) -> Arithmetic:
    """Return the arithmetic that a semantics, ``"real"`` or ``"float32"``, claims.

    Raises
    ------
    InputError
        If the semantics is unknown.

    Examples
    --------
    >>> arithmetic_of("float32").name
    'float32'
    """
    return lookup({"real": REAL, "float32": FLOAT32}, semantics, "semantics")


def check_gradual_underflow() -> None:
    """Raise AssumptionError if this thread flushes subnormal float64 numbers to zero."""
    least = torch.tensor(2.0**-1022, dtype=torch.float64)
    if (least * 0.5).item() == 0:
        raise AssumptionError(
            "subnormal numbers are flushed to zero; the error analysis of bounds needs gradual underflow; "
            "call torch.set_flush_denormal(False)."
        )
