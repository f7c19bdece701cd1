"""The values of an option along a front, exact, in the order in which they are trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from epsball.errors import InputError
from epsball.option_text import split_options
from epsball.training import AWP, Objective

MOST = 1000
"""Values of a front, at most."""

_LIKE = "write it as in alpha=0:1:0.2 (LOW:HIGH:STEP) or alpha=1,0.5,0"


@dataclass(frozen=True, kw_only=True)
class Along:
    """An option and the values it takes, none twice.

    Parameters
    ----------
    option
        The objective's own option.
    values
        At least two.
    is_range
        Whether they were written as LOW:HIGH:STEP.

    Examples
    --------
    >>> [str(value) for value in Along.parse("alpha=0:1:0.2").values]
    ['0', '1/5', '2/5', '3/5', '4/5', '1']
    """

    option: str
    values: tuple[Fraction, ...]
    is_range: bool = False

    @classmethod
    def parse(cls, text: str) -> "Along":
        """Return what ``OPTION=LOW:HIGH:STEP`` or ``OPTION=VALUE,VALUE,...`` says.

        Raises
        ------
        InputError
            If the text has another form, or names fewer than two values or one twice.
        """
        option, equals, written = (part.strip() for part in text.partition("="))
        if not equals or not option.isidentifier() or not written:
            raise InputError(f"the front is '{text}'; {_LIKE}.")
        values = _range(text, written) if ":" in written else tuple(number(text, part) for part in written.split(","))
        if len(set(values)) < max(2, len(values)):
            raise InputError(
                f"the front '{text}' has {len(values)} values, {len(set(values))} of them different; give two or more, "
                "each once."
            )
        return cls(option=option, values=values, is_range=":" in written)

    def ordered(self, objective: Objective) -> tuple[Fraction, ...]:
        """Return the values from the most certified to the most natural end.

        Raises
        ------
        InputError
            If a range is given of an option of which the objective does not say which end that is.
        """
        inner = objective.objective if isinstance(objective, AWP) else objective
        end = getattr(inner, "certified_end", {}).get(self.option)
        if end is not None:
            return tuple(sorted(self.values, reverse=end == "high"))
        if self.is_range:
            raise InputError(
                f"which end of {self.option} is the most certified is not known of '{inner.name}'; list the values, "
                f"the most certified first: {self.option}={','.join(map(written, self.values))} or the other way round."
            )
        return self.values


def written(value: Fraction) -> str:
    """Return a value as its objective's text has it: a whole number, or the shortest decimal of the nearest float.

    Examples
    --------
    >>> written(Fraction(1, 5)), written(Fraction(3))
    ('0.2', '3')
    """
    return str(value.numerator) if value.denominator == 1 else repr(float(value))


def with_option(objective: str, option: str, value: Fraction) -> str:
    """Return the text of an objective with one more option.

    Raises
    ------
    InputError
        If the text has that option already.
    """
    if option in split_options(objective)[1]:
        raise InputError(f"'{objective}' gives {option}, which the front varies; leave it out of one of the two.")
    return f"{objective},{option}={written(value)}"


def number(text: str, part: str) -> Fraction:
    """Return the exact value of a decimal number or a fraction; `text` is what it stands in, for the message."""
    try:
        return Fraction(part.strip())
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"'{part.strip()}' in '{text}' is not a number; {_LIKE}.") from error


def _range(text: str, written: str) -> tuple[Fraction, ...]:
    parts: Sequence[Fraction] = [number(text, part) for part in written.split(":")]
    if len(parts) != 3:
        raise InputError(f"the front is '{text}'; {_LIKE}.")
    low, high, step = parts
    if step <= 0 or high <= low:
        raise InputError(f"the front is '{text}'; need LOW < HIGH and a positive STEP.")
    count = math.floor((high - low) / step) + 1
    if count > MOST:
        raise InputError(f"the front '{text}' has {count} values, more than {MOST}; take a larger STEP.")
    if low + step * (count - 1) != high:
        raise InputError(
            f"the steps of the front '{text}' end at {float(low + step * (count - 1)):g}, not at {float(high):g}: the "
            "end would be missing. Take a STEP that divides HIGH - LOW, or list the values."
        )
    return tuple(low + step * i for i in range(count))
