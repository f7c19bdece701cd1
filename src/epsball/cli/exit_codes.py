"""The exit codes of every command, in words."""

EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "bad input",
    3: "bad model",
    4: "unsupported operation",
    5: "missing extra",
    6: "bad certificate",
    7: "broken assumption",
    8: "contradiction between a witness and a certificate",
    10: "gate failed",
    11: "gate cannot tell",
    130: "interrupted",
}
"""Codes of errors are those of the classes of `epsball.errors`. A gate's 11 is Python's `Gate.exit_code`; the command
line makes 10 or 0 of it, by --on-undecided."""


def listed() -> str:
    """Return the codes in one line.

    Examples
    --------
    >>> listed()[:22]
    '0 done, 1 failed, 2 ba'
    """
    return ", ".join(f"{code} {words}" for code, words in EXIT_CODES.items())
