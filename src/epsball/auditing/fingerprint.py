"""What decides the verdicts of a run: written beside the evidence, compared before a run resumes."""

import dataclasses
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from epsball import attacks
from epsball._version import __version__
from epsball.attacks.engine.judge import Judge
from epsball.attacks.parts.attack import ThirdPartyAttack
from epsball.attacks.wrappers.other_libraries import OtherLibraryAttack
from epsball.auditing.manifest import SCHEMA
from epsball.auditing.subject import Subject
from epsball.certificates.own_bound import OwnBound
from epsball.classifier.guards import PROBED
from epsball.data import as_pixels
from epsball.errors import InputError
from epsball.generator_state import preserved
from epsball.models.own_code import own_files, own_name

_TOLERANCE = 1e-3

STORED_AS = "stored as"
"""Key of a field's metadata: the name under which run folders store the field, where it was renamed.

None: it is not stored."""

STORED_TYPES: dict[type, str] = {
    attacks.APGD: "gradient.apgd.APGD",
    attacks.Adaptive: "adaptive.adaptive.Adaptive",
    attacks.AutoAttack: "autoattack.AutoAttack",
    attacks.CarliniWagner: "minimum_norm.carlini_wagner.CarliniWagner",
    attacks.CarliniWagnerLinf: "minimum_norm.carlini_wagner_linf.CarliniWagnerLinf",
    attacks.Collision: "black_box.collision.Collision",
    attacks.DDN: "minimum_norm.ddn.DDN",
    attacks.DeepFool: "minimum_norm.deepfool.DeepFool",
    attacks.Ensemble: "ensemble.Ensemble",
    attacks.ExpectationOverTransformation: "expectation.ExpectationOverTransformation",
    attacks.FAB: "minimum_norm.fab.FAB",
    attacks.FGSM: "gradient.pgd.FGSM",
    attacks.FMN: "minimum_norm.fmn.FMN",
    attacks.HopSkipJump: "black_box.hop_skip_jump.HopSkipJump",
    attacks.MinimumNorm: "minimum_norm.ensemble.MinimumNorm",
    attacks.MomentumPGD: "gradient.momentum.MomentumPGD",
    attacks.NES: "black_box.nes.NES",
    OtherLibraryAttack: "adaptive.adapters.Peer",
    attacks.PDPGD: "minimum_norm.pdpgd.PDPGD",
    attacks.PGD: "gradient.pgd.PGD",
    attacks.RandomisedAutoAttack: "autoattack.RandomisedAutoAttack",
    attacks.RandomisedFGSM: "gradient.pgd.RandomisedFGSM",
    attacks.SPSA: "black_box.spsa.SPSA",
    attacks.SecondOrder: "gradient.second_order.SecondOrder",
    attacks.MultiStart: "shots.Shots",
    attacks.Square: "black_box.square.Square",
    attacks.TargetedAPGD: "gradient.apgd.TargetedAPGD",
    attacks.TargetedFAB: "minimum_norm.fab.TargetedFAB",
    attacks.Transfer: "transfer.Transfer",
}
"""Under which name, after ``epsball.attacks.``, run folders store an attack's class: where it was in 0.1.0.

A class that moves or is renamed keeps its stored name, so that runs resume.
"""


def identity(value: Any) -> Any:
    """Return a value of an option as JSON's types, equal for equal options.

    Tensors become their shape and hash, functions their code, defaults and what they close
    over (the values of globals they read are not covered), dataclasses their fields. What was loaded from a file
    of the user's has the hashes of its files too.

    Raises
    ------
    InputError
        If a value has no such form: two runs could not be distinguished.
    """
    if isinstance(value, Fraction):
        return {"fraction": str(value)}
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous()
        digest = hashlib.sha256(data.view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        return {"dtype": str(value.dtype), "shape": list(value.shape), "sha256": digest}
    if isinstance(value, ThirdPartyAttack):
        return identity(value.attack)
    if isinstance(value, OwnBound):
        code = _files(value.bound) or {"code": identity(value.bound)}
        return {"bound": own_name(value.bound), **code, "options": _of_each(value.options)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.metadata.get(STORED_AS, field.name): identity(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.metadata.get(STORED_AS, field.name) is not None
        }
        return {"type": _stored_type(type(value)), **_files(value), **fields}
    if isinstance(value, list | tuple):
        return [identity(item) for item in value]
    if inspect.isfunction(value):
        return _of_function(value)
    if own_files(value) is not None and not isinstance(value, type):
        return {"type": own_name(type(value)), **_files(value), **_of_each(vars(value))}
    raise InputError(
        f"an option is {value!r}, which a run folder cannot record; use numbers, texts, tensors, dataclasses or "
        "plain functions, or run without a folder."
    )


def _of_each(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: identity(value) for name, value in values.items()}


def _files(value: object) -> dict[str, Any]:
    """Return the hashes of the user's files that a value was loaded from; nothing for any other value."""
    files = own_files(value)
    return {} if files is None else {"files": files}


def _stored_type(kind: type) -> str:
    stored = STORED_TYPES.get(kind)
    return own_name(kind) if stored is None else f"epsball.attacks.{stored}"


def _of_function(function: Callable[..., Any]) -> dict[str, Any]:
    cells = function.__closure__ or ()
    return {
        "function": own_name(function),
        "code": _of_code(function.__code__),
        "defaults": identity(function.__defaults__),
        "keywords": identity(sorted((function.__kwdefaults__ or {}).items())),
        "closure": [identity(cell.cell_contents) for cell in cells],
    }


def _of_code(code: CodeType) -> str:
    """Return a hash of a function's instructions, names and constants, those of inner functions included."""
    constants = [_of_code(c) if isinstance(c, CodeType) else _of_constant(c) for c in code.co_consts]
    text = repr((code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, constants))
    return hashlib.sha256(text.encode()).hexdigest()


def _of_constant(constant: object) -> str:
    return repr(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)


def describe(subject: Subject, options: dict[str, Any], shard: int) -> dict[str, Any]:
    """Return a run's record: ``identity`` decides its verdicts, ``about`` is for the reader."""
    classifier, dataset = subject.classifier, subject.dataset
    return {
        "identity": {
            "network": classifier.fingerprint(),
            "dtype": str(classifier.dtype),
            "device": classifier.device.type,
            "box": [classifier.low, classifier.high],
            "stochastic": classifier.repetitions if classifier.stochastic else False,
            "data": dataset.fingerprint(),
            "ball": str(subject.ball),
            "links": options,
            "seed": subject.seed,
            "shard": shard,
            # Only where there is something to say: folders of 0.1.0 resume.
            **({"overruled": list(classifier.overruled)} if classifier.overruled else {}),
            "epsball": __version__,
        },
        "probe": probe(subject),
        "schema": SCHEMA,
        "about": {"data": dataset.name, "torch": str(torch.__version__)},
    }


def probe(subject: Subject) -> list[float | None]:
    """Return the canonical margins of the first examples: they change with the code of the model."""
    classifier = subject.classifier
    x, y = subject.dataset[:PROBED]
    with preserved(subject.seed if classifier.stochastic else None), classifier.in_use():
        x = classifier.to_model(as_pixels(x))
        margins = Judge(classifier).margins(x, y.to(x.device)).tolist()
    return [margin if abs(margin) < torch.inf else None for margin in margins]


def same_probe(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    """Return whether two probes agree up to rounding on another number of threads."""
    size = 1 + max((abs(v) for v in a if v is not None), default=0.0)
    return len(a) == len(b) and all(
        u is v if u is None or v is None else abs(u - v) <= _TOLERANCE * size for u, v in zip(a, b, strict=True)
    )
