"""What was tested, and against what: the model, the data, the perturbations and the attacker."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from epsball.attacks.registry import ATTACKS
from epsball.auditing.exporting.field import Value
from epsball.auditing.exporting.reader import Reader
from epsball.auditing.exporting.run_files import Absent
from epsball.auditing.fingerprint import STORED_TYPES
from epsball.ball import Ball

ATLAS = "AML.T0043 (Craft Adversarial Data), MITRE ATLAS v2026.10"
"""The technique that an attack of this library is, with the version it was looked up in."""


def _identity(name: str) -> Callable[[Reader], Value]:
    return lambda read: Value(value=str(read.document("run.json", "identity", name)))


def _ball(read: Reader) -> Ball:
    return Ball.parse(read.document("run.json", "identity", "ball"))


def _radius(read: Reader) -> Value:
    ball = _ball(read)
    steps = float(ball.radius * 255)
    return Value(
        value=float(ball.radius),
        note=f"exactly {Fraction(ball.radius)}, in {ball.norm}, in pixels of [0, 1]; {steps:.6g} steps of 8-bit pixels",
    )


def _box(read: Reader) -> Value:
    low, high = read.document("run.json", "identity", "box")
    return Value(value=f"[{low}, {high}]", note="the inputs that the classifier takes, per entry")


def _examples(read: Reader) -> Value:
    return Value(value=len(read.column("index")))


def _shape(read: Reader) -> Value:
    return Value(value=" x ".join(map(str, read.witnesses("x").shape[1:])), note="shape of an input")


def _attack(read: Reader) -> Value:
    method = read.document("run.json", "identity", "links", "attack", "method")
    return Value(value=_named(method), note=_options(method))


def _options(method: Mapping[str, Any]) -> str | None:
    said = [f"{k}={v}" for k, v in method.items() if k != "type" and isinstance(v, str | int | float)]
    return ", ".join(said) or None


def _named(method: Mapping[str, Any]) -> str:
    """Return the registered name of an attack; of one from elsewhere, the name of its class."""
    kind = _class(method)
    name = next((name for name, known in ATTACKS.items() if known is kind), None)
    return name or str(method.get("type", "unknown")).rpartition(".")[2]


def _class(method: Mapping[str, Any]) -> type | None:
    stored = str(method.get("type", "")).removeprefix("epsball.attacks.")
    return next((kind for kind, name in STORED_TYPES.items() if name == stored), None)


def _knowledge(read: Reader) -> Value:
    kind = _class(read.document("run.json", "identity", "links", "attack", "method"))
    if kind is None:
        raise Absent("the attack is not one of the library's, so what it knows of the model is not recorded")
    if getattr(kind, "gradient_free", False):
        return Value(value="closed-box", note="the attack asks for the model's outputs only")
    return Value(value="glass-box", note="the attack uses the model's gradients")


def _goal(read: Reader) -> Value:
    read.document("run.json", "identity", "links", "attack", "method")
    return Value(value="untargeted", note="any class but the label counts")


def _technique(read: Reader) -> Value:
    read.document("run.json", "identity", "links", "attack", "method")
    return Value(value=ATLAS)


def _date(read: Reader) -> Value:
    begun, ended = read.timing("begun"), read.timing("ended")
    return Value(value=f"{min(begun)} to {max(ended)}", note="by the clocks of the machines; no hash covers the times")


SUBJECT_FIELDS: Mapping[str, Callable[[Reader], Value]] = {
    "manifest": lambda read: Value(value=read.manifest(), note="stands for every file of the run"),
    "tool": lambda read: Value(value=f"epsball {read.document('run.json', 'identity', 'epsball')}"),
    "date": _date,
    "model hash": _identity("network"),
    "model arithmetic": _identity("dtype"),
    "device": _identity("device"),
    "random model": lambda read: Value(
        value="no" if (found := read.document("run.json", "identity", "stochastic")) is False else f"{found} draws"
    ),
    "data": lambda read: Value(value=str(read.document("run.json", "about", "data"))),
    "data hash": _identity("data"),
    "examples": _examples,
    "input shape": _shape,
    "perturbation set": _identity("ball"),
    "radius": _radius,
    "input range": _box,
    "seed": _identity("seed"),
    "attack": _attack,
    "attacker's knowledge": _knowledge,
    "attacker's goal": _goal,
    "technique": _technique,
}
"""How each field is read off the evidence."""
