"""`read_query`: a VNN-LIB file of either version, plain or gzipped."""

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from epsball.errors import InputError, first_line
from epsball.verification.vnnlib.expressions import Place
from epsball.verification.vnnlib.formula import Formula, comparisons
from epsball.verification.vnnlib.version_1 import read_version_1
from epsball.verification.vnnlib.version_2 import read_version_2

_VERSION = re.compile(r"(?:\s|;[^\n]*\n)*\(\s*vnnlib-version\s*<\s*(\d+)\.(\d+)\s*>")
_GZIP = b"\x1f\x8b"
_LARGEST = 10**30


@dataclass(frozen=True, kw_only=True)
class TensorDeclaration:
    """The input or output that a query is about.

    Parameters
    ----------
    name
        Its name.
    element
        Its element type as written; version 1.0 has ``"Real"`` only.
    shape
        Its shape; in version 1.0 one axis.
    """

    name: str
    element: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of its entries."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What is asked about a network: whether some input, with the network's output, satisfies the formula.

    Parameters
    ----------
    path
        The file, for messages.
    version
        ``"1.0"`` or that of the file.
    network
        The name of the network; empty in version 1.0.
    input, output
        The network's input and output as declared.
    formula
        What is asserted, exactly.
    """

    path: str
    version: str
    network: str
    input: TensorDeclaration
    output: TensorDeclaration
    formula: Formula

    @property
    def element(self) -> str:
        """The element type of input and output in lower letters: ``"real"``, ``"float32"``, ..."""
        return self.input.element.lower()


def read_query(path: str | Path) -> Query:
    """Read a query of VNN-LIB 1.0, or of 2.0 through the package `vnnlib`.

    Parameters
    ----------
    path
        The file; if its content is gzipped it is unpacked. Where it is not there but NAME.gz is, that is read.

    Raises
    ------
    InputError
        If the file cannot be read or breaks the format; the message names the line, the rule and the fix.
    UnsupportedOperation
        If it asks for more than linear comparisons about one network with one input and one output.
    MissingExtra
        If it is of version 2.0 and `vnnlib` is not installed.
    """
    path = or_packed(Path(path).expanduser())
    text = _text(path)
    match = _VERSION.match(text)
    if match is None or match[1] == "1":
        inputs, outputs, formula = read_version_1(text[match.end() + 1 :] if match else text, str(path))
        network, version = "", "1.0"
        source, result = ("X", "Real", (inputs,)), ("Y", "Real", (outputs,))
    else:
        version = f"{match[1]}.{match[2]}"
        if match[1] != "2":
            raise InputError(f"{path} is of VNN-LIB {version}; versions 1.0 and 2.x are read. Convert it.")
        network, source, result, formula = read_version_2(text, str(path))
    _check_sizes(formula, Place(str(path)))
    declared = [TensorDeclaration(name=name, element=element, shape=shape) for name, element, shape in (source, result)]
    if declared[0].element.lower() != declared[1].element.lower():
        raise InputError(
            f"{path} declares the input as {declared[0].element} and the output as {declared[1].element}; they must be "
            "of one element type."
        )
    return Query(
        path=str(path), version=version, network=network, input=declared[0], output=declared[1], formula=formula
    )


def or_packed(path: Path) -> Path:
    """Return a file, or where it is missing its gzipped copy NAME.gz, as lists of instances name the unpacked one."""
    packed = path.with_name(path.name + ".gz")
    return packed if packed.exists() and not path.exists() else path


def _check_sizes(formula: Formula, place: Place) -> None:
    """Refuse numbers that float32 cannot hold."""
    for one in comparisons(formula):
        if any(abs(number) > _LARGEST for number in (one.form.constant, *(c for _, c in one.form.terms))):
            place.wrong(one.line, "a number is beyond 1e30; inputs and outputs are floats. Correct it.")


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")  # Some editors begin a text with a mark.
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a text, plain or gzipped ({first_line(error)}). Download it again.") from error
