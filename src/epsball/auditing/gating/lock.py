"""``robustness.lock``: what a gate asks and about which data, in a file that is committed beside the code.

A run that would ask anything else is refused, naming each difference. The model is what a gate is for: another one is
noted, never refused; so is another environment, unless that is asked for.
"""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from epsball._version import __version__
from epsball.auditing.gating.conditions import NAMES, Condition
from epsball.classifier import Classifier
from epsball.errors import InputError, lookup, nearest
from epsball.files import write_atomically
from epsball.interface import option, switch
from epsball.radius import format_radius
from epsball.toml_files import read_toml

NAME = "robustness.lock"
"""The file's usual name."""

SCHEMA = 1
"""Version of the file's content."""

THRESHOLDS = "thresholds"
"""The table of the conditions."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """What a gate asks, and about what.

    Parameters
    ----------
    epsball
        Version by which it is decided.
    ball, effort, alpha, seed
        As for `epsball.gate`.
    thresholds
        The exact share of every condition, as text.
    data
        ``hash`` and ``examples``.
    model
        ``hash``: recorded, since the next model is another.
    environment
        What the last bits of a logit depend on beside: recorded.

    Examples
    --------
    >>> lock = Lock(epsball="0.1.0", ball="linf:0.1", effort="quick", alpha=0.05, seed=0,
    ...             thresholds={"min_robust": "0.9"}, data={"hash": "sha256:1", "examples": 100},
    ...             model={"hash": "sha256:2"}, environment={"torch": "2.9"})
    >>> print(lock.text().splitlines()[4])
    epsball = "0.1.0"
    """

    epsball: str
    ball: str
    effort: str
    alpha: float
    seed: int
    thresholds: Mapping[str, str]
    data: Mapping[str, str | int]
    model: Mapping[str, str]
    environment: Mapping[str, str | int]

    @classmethod
    def read(cls, path: str | Path) -> "Lock":
        """Read a lock.

        Raises
        ------
        InputError
            If it cannot be read, is of a later schema, or an entry is unknown, missing or of the wrong type.
        """
        path = Path(path)
        content = read_toml(path)
        schema = content.pop("schema", None)
        if not isinstance(schema, int) or schema < 1:
            raise InputError(f"{path} is not a lock of epsball: schema is {schema!r}, not a whole number. {_ANEW}")
        if schema > SCHEMA:
            raise InputError(f"{path} is a lock of schema {schema}; this version knows {SCHEMA}. Update epsball.")
        _check(path, content)
        return cls(**content)

    def text(self) -> str:
        """Return the content of the file: the same for the same lock."""
        parts = [_HEAD, f"schema = {SCHEMA}"]
        for name, value in vars(self).items():
            if isinstance(value, Mapping):
                entries = "".join(f"{key} = {json.dumps(item, ensure_ascii=False)}\n" for key, item in value.items())
                parts.append(f"\n# {_ABOUT[name]}\n[{name}]\n{entries}".rstrip())
            else:
                parts.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
        return "\n".join(parts) + "\n"

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        write_atomically(path, self.text().encode())

    def require(self, now: "Lock", path: str | Path, *, strict_environment: bool) -> tuple[str, ...]:
        """Check that a run asks what the lock asks; return what is to be noted.

        Parameters
        ----------
        now
            The lock that the run would write.
        path
            Where this one was read, for messages.
        strict_environment
            Whether another environment is refused too.

        Raises
        ------
        InputError
            If it does not, naming every difference, both values and the mend.
        """
        refused = [*_differences(self, now, _BINDING), *_differences(self.data, now.data, tuple(now.data), "data ")]
        refused += _differences(self.thresholds, now.thresholds, tuple({**self.thresholds, **now.thresholds}))
        noted = list(_differences(self.environment, now.environment, tuple(now.environment), ""))
        if strict_environment:
            refused += noted
            noted = []
        if refused:
            listed = "; ".join(f"{what} ({_mend(name, then)})" for name, what, then in refused)
            raise InputError(
                f"{path} asks for something else than this run: {listed}. Make them agree, or write the lock anew "
                f"({switch('write_lock')}) and commit it."
            )
        notes = [f"environment: {what}; {path} was written there" for _, what, _ in noted]
        if self.model != now.model:
            notes.append(f"model: another than the one {path} was written with, and judged in an order of its own")
        return tuple(notes)


def lock_of(classifier: Classifier, conditions: Sequence[Condition], about: Mapping[str, Any], examples: int) -> Lock:
    """Return the lock of a gate.

    Parameters
    ----------
    classifier
        Its model.
    conditions
        What it asks.
    about
        Its hashes, ball, effort, seed and alpha.
    examples
        Number of examples of its data.
    """
    return Lock(
        epsball=__version__,
        ball=about["ball"],
        effort=about["effort"],
        alpha=about["alpha"],
        seed=about["seed"],
        thresholds={condition.name: format_radius(condition.share) for condition in conditions},
        data={"examples": examples, "hash": about["data"]} | _baseline(about),
        model={"hash": about["model"]},
        environment=environment_of(classifier),
    )


def _baseline(about: Mapping[str, Any]) -> dict[str, str]:
    """Return the manifest of the run that examples are compared with, where there is one."""
    return {"baseline": str(about["baseline"])} if "baseline" in about else {}


def environment_of(classifier: Classifier) -> dict[str, str | int]:
    """Return what the last bits of a logit depend on, beside the model and its input."""
    return {
        "torch": str(torch.__version__),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": classifier.device.type,
        "dtype": str(classifier.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


_BINDING = ("epsball", "ball", "effort", "alpha", "seed")
_ANEW = "Write it anew by --write-lock."
_HEAD = """\
# What `epsball gate` asks of a model, and about which data. Commit this file: a run that would ask anything else
# ends with exit code 2 and names the difference. Written by `epsball gate ... --write-lock`; change it by that
# command too, so that hashes and thresholds fit each other."""
_ABOUT = {
    THRESHOLDS: "Least shares of the examples; exact.",
    "data": "The examples, of which every answer speaks.",
    "model": "The model that was there when this was written. The next one is another: that is noted, not refused.",
    "environment": "Recorded: a difference is noted, and refused only by --strict-environment.",
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "epsball": str,
    "ball": str,
    "effort": str,
    "alpha": float,
    "seed": int,
    **dict.fromkeys(_ABOUT, dict),
}


_ENVIRONMENT = ("torch", "platform", "device", "dtype", "threads")
_ENTRIES = {"data": ("examples", "hash", "baseline"), "model": ("hash",), "environment": _ENVIRONMENT}


def _check(path: Path, content: Mapping[str, Any]) -> None:
    """Raise InputError unless the entries of a lock are those that `Lock` has, with values of their types."""
    known = [field.name for field in fields(Lock)]
    for name in content:
        if name not in known:
            raise InputError(f"unknown entry '{name}' in {path}; known: {', '.join(known)}.{nearest(name, known)}")
    for name in known:
        if name not in content:
            raise InputError(f"'{name}' is missing in {path}. {_ANEW}")
        if not isinstance(content[name], _TYPES[name]) or isinstance(content[name], bool):
            raise InputError(f"'{name}' in {path} is {content[name]!r}, which is not what a lock holds. {_ANEW}")
    for name, entries in _ENTRIES.items():
        for entry in content[name]:
            if entry not in entries:
                near = nearest(entry, entries)
                raise InputError(f"unknown entry '{entry}' of '{name}' in {path}; known: {', '.join(entries)}.{near}")
    for name, share in content[THRESHOLDS].items():
        lookup(dict.fromkeys(NAMES), name, f"threshold in {path}:")
        if not isinstance(share, str):
            raise InputError(f"'{name}' in {path} is {share!r}; a threshold is a text, as in \"0.9\".")


def _differences(then: object, now: object, names: tuple[str, ...], of: str = "") -> Iterator[tuple[str, str, object]]:
    """Yield name, sentence and locked value of each entry that differs."""
    for name in names:
        a, b = _entry(then, name), _entry(now, name)
        if a != b:
            yield name, f"{of}{name} is {_shown(a)} there, {_shown(b)} here", a


def _entry(lock: object, name: str) -> object:
    return lock.get(name) if isinstance(lock, Mapping) else getattr(lock, name)


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


def _mend(name: str, then: object) -> str:
    """Return what makes a run agree with the lock about an entry."""
    if name == "epsball":
        return f"pip install 'epsball=={then}'"
    if name == "baseline":
        return "give the baseline that the lock was written with"
    if name in ("hash", "examples"):
        return "give the data that the lock was written with"
    if name in _ENVIRONMENT:
        return f"run it there, or leave {switch('strict_environment')} out"
    return f"leave {name} out" if then is None else f"give {option(name, str(then))}, or leave it out"
