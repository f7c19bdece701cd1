"""Which version of a method a measured number was measured with.

A number in the documentation names the methods it depends on, with their versions then. Raise a version where a change
may move what the method reports or costs: numbers of older versions are then marked as old until measured again.
"""

_RAISED: dict[str, int] = {"complete": 2}
"""Version by name of a method, where it is not 1."""


def method_version(name: str) -> int:
    """Return the version that a method (an attack, a bound, an objective, a verb) declares.

    Examples
    --------
    >>> method_version("ensemble")
    1
    """
    return _RAISED.get(name, 1)
