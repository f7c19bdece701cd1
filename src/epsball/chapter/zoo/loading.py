"""Defended classifiers from trained networks and parts."""

import keyword
from pathlib import Path

from epsball.chapter.zoo.parts import load_part
from epsball.chapter.zoo.places import network
from epsball.classifier import Classifier
from epsball.files import write_atomically
from epsball.masking import zoo

FUNCTIONS = "zoo.py"


def defended(name: str, out: Path, base: str | None = None) -> Classifier:
    """Return a defended classifier of the zoo.

    Parameters
    ----------
    name
        The defence.
    out
        Folder that `epsball zoo train` wrote.
    base
        The trained network under it; None is the defence's own.

    Raises
    ------
    InputError
        If there is no such defence or network, or it is not trained.
    """
    defence = zoo.defence(name)
    part = None if defence.part is None else load_part(defence.part, out)
    return defence.build(network(base or defence.base, out), part)


def write_functions(out: Path) -> None:
    """Write OUT/zoo.py, so that OUT/zoo.py:NAME names a defended network in every command.

    Detectors are left out: no command takes a model that rejects.
    """
    lines = [
        '"""The defended networks of the zoo, for every command: zoo.py:NAME."""',
        "",
        "from pathlib import Path",
        "",
        "from epsball.chapter.zoo.loading import defended",
        "",
        "HERE = Path(__file__).parent",
        "",
    ]
    for defence in zoo.DEFENCES.values():
        if defence.part != "cifar-detector":
            note = " (random: --stochastic)" if defence.masking == "stochastic" else ""
            lines += [
                "",
                f"def {identifier(defence.name)}():",
                f'    """{defence.does}{note}"""',
                f'    return defended("{defence.name}", HERE).network',
                "",
            ]
    write_atomically(out / FUNCTIONS, "\n".join(lines).encode())


def identifier(name: str) -> str:
    """Return a defence's name as that of a Python function.

    Examples
    --------
    >>> identifier("8-bit-rounding")
    'rounding_8_bit'
    """
    words = name.replace("-", "_")
    if words[0].isdigit():
        first, *others = words.rpartition("_")[::2]
        words = "_".join([*others, first])
    return words if not keyword.iskeyword(words) else f"{words}_"
