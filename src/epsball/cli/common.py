"""What several commands share: naming model, data and ball, showing progress, printing results.

The modules of the commands import torch and the pillars inside the functions that need them: help and
complaints about a command line load nothing heavy.
"""

import inspect
import io
import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar, cast, get_args, runtime_checkable

from cyclopts import Parameter

from epsball import ball_text
from epsball.checks import check_seed
from epsball.cli.progress import Loudness
from epsball.errors import InputError, nearest
from epsball.files import write_atomically
from epsball.interruption import partial_of
from epsball.names import MethodName, Precision
from epsball.progress import doing

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

    from epsball import models
    from epsball.ball import Ball
    from epsball.classifier import Classifier
    from epsball.data import Dataset

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

INTERRUPTED = 130
"""Exit code of an interrupted command."""

_CALL: ContextVar[tuple[str, ...]] = ContextVar("call", default=())
_BEGAN: ContextVar[float | None] = ContextVar("began", default=None)


@contextmanager
def called_by(arguments: Iterable[str], *, own_process: bool = False) -> Iterator[None]:
    """Let `same_command` and `seconds_so_far` know the command that runs inside the block.

    Parameters
    ----------
    arguments
        Its arguments.
    own_process
        Whether this process was started for it, so that its time is the process's.
    """
    call, began = _CALL.set(tuple(arguments)), _BEGAN.set(time.monotonic() - (_age() if own_process else 0.0))
    try:
        yield
    finally:
        _CALL.reset(call)
        _BEGAN.reset(began)


def seconds_so_far() -> float:
    """Return for how long the command has run, the start of its process and all imports included."""
    began = _BEGAN.get()
    return 0.0 if began is None else time.monotonic() - began


def _age() -> float:
    """Return for how many seconds this process has run; 0 where the system does not say."""
    try:
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def same_command(*more: str) -> str:
    """Return the command that is running, as a shell takes it, with further arguments."""
    return shlex.join(["epsball", *_CALL.get(), *more])


def _check_ball(_: object, text: str | None) -> None:
    if text is not None:
        ball_text.check(text)


AS_BALL = Parameter(validator=_check_ball)
"""Refuses a text that names no ball, before anything is loaded."""


def bound_or(*others: str) -> Parameter:
    """Return the parameter of a bound: a registered one, one of `others`, or FILE.py:NAME."""

    def check(_: object, text: str) -> None:
        known = (*get_args(MethodName), *others)
        if ".py" not in text and text not in known:
            raise InputError(f"is '{text}'; it is one of {', '.join(known)}.{nearest(text, known)}")

    return Parameter(validator=check)


Model = Annotated[str, Parameter(help="The model under test, as in cnn_a@weights.pt or card.json.")]
Data = Annotated[str, Parameter(help="The data it is tested on, as in digits or idx:FOLDER,split=test,first=100.")]
Perturbation = Annotated[str, AS_BALL, Parameter(help="The perturbation set, NORM:RADIUS, as in linf:8/255 or l2:0.5.")]
Stochastic = Annotated[bool, Parameter(help="The model draws random numbers; it is judged over repetitions.")]
SearchPrecision = Annotated[
    Precision, Parameter(help="Arithmetic of the search; verdicts are always given in float32.")
]
BatchSize = Annotated[int | None, Parameter(help="Examples searched together; by default as many as fit.")]


def _check_figure(_: object, out: Path) -> None:
    figure_format(out)


def _check_seed(_: object, seed: int | None) -> None:
    if seed is not None:
        check_seed(seed)


Seed = Annotated[int, Parameter(validator=_check_seed)]
FigureFile = Annotated[
    Path, Parameter(validator=_check_figure, help="The figure's file: .png, .svg or .pdf, as in figure.png.")
]
Folder = Annotated[Path | None, Parameter(help="Folder of the results.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Unseeded(Loudness):
    """Options of every command that runs a model or reads data, but for its seed.

    Parameters
    ----------
    device
        Where the model runs: auto (a GPU if there is one), cpu, cuda, cuda:1, ...
    json
        Print one JSON document to standard output instead of text.
    """

    device: str = "auto"
    json: Annotated[bool, Parameter(negative=())] = False

    def seeded(self, seed: int) -> "Common":
        """Return these options with a seed."""
        return Common(seed=seed, **vars(self))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common(Unseeded):
    """Options of every command that runs a model or reads data.

    Parameters
    ----------
    seed
        Seed of every draw.
    device
        Where the model runs: auto (a GPU if there is one), cpu, cuda, cuda:1, ...
    json
        Print one JSON document to standard output instead of text.
    """

    seed: Seed = 0


@runtime_checkable
class Result(Protocol):
    """A result that prints and goes to JSON."""

    def to_json(self) -> dict[str, object]:
        """Return the result as JSON's types."""
        ...


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a command is about: a classifier, data and a ball."""

    classifier: "Classifier"
    dataset: "Dataset"
    ball: "Ball"


def load_model(text: str, dataset: "Dataset", common: Common) -> "models.LoadedModel":
    """Return the model a text names, on its device; the data give shape and classes where the text does not."""
    return load_model_for(text, dataset.shape, dataset.classes, common)


def load_model_for(
    text: str, shape: tuple[int, ...] | None, classes: int | None, common: Common
) -> "models.LoadedModel":
    """Return the model a text names, on its device, for inputs of a shape and a number of classes, if known."""
    from epsball import models
    from epsball.generator_state import preserved

    with preserved(common.seed), doing(f"loading {text}"):
        loaded = models.load(text, shape=shape, classes=classes)
    say(loaded.notes)
    loaded.module.to(_device(common.device))
    return loaded


def load_data(text: str, model: str, common: Common, *, split: str | None = None) -> "Dataset":
    """Return the data a text names, in the layout that a model takes; what was inferred is printed."""
    from epsball import data as datasets
    from epsball.cli.fitting import fitting

    with doing(f"reading {text}"):
        dataset = fitting(model, datasets.load(text, split=split), common.seed)
    say(dataset.notes)
    return dataset


def say(notes: Iterable[str]) -> None:
    """Print what was inferred, one line each."""
    for note in notes:
        _LOG.info(note)


def load_subject(model: str, data: str, ball: str, common: Common, *, stochastic: bool) -> Subject:
    """Return what three texts name; the classifier lives in the ball's box."""
    from epsball.ball import Ball

    perturbation = Ball.parse(ball)
    dataset = load_data(data, model, common)
    loaded = load_model(model, dataset, common)
    classifier = loaded.classifier(low=perturbation.low, high=perturbation.high, stochastic=stochastic)
    return Subject(classifier=classifier, dataset=dataset, ball=perturbation)


def _device(name: str) -> "torch.device":
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device '{name}'; use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device '{name}' was asked for, but no CUDA device is available; use --device cpu.")
    return device


@dataclass(frozen=True)
class Output:
    """What a command prints to standard output, and the exit code it ends with."""

    text: str
    code: int = 0


def flowing(text: str) -> str:
    """Return a text whose paragraphs are one line each, for a terminal of any width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def described(command: Callable[..., object]) -> str:
    """Return what a command's docstring says before its parameters."""
    return (inspect.getdoc(command) or "").partition("\n\nParameters\n")[0]


def finished_or_partial(call: Callable[[], T], how_to_go_on: str) -> tuple[T, int]:
    """Return what a verb returns and the exit code 0; where it is interrupted, what it found and 130.

    Where it found nothing, the interruption goes on with `how_to_go_on` as its text.
    """
    try:
        return call(), 0
    except KeyboardInterrupt as interruption:
        found = partial_of(interruption)
        if found is None:
            raise KeyboardInterrupt(how_to_go_on) from interruption
        print(f"interrupted; {how_to_go_on}", file=sys.stderr)
        return cast("T", found), INTERRUPTED


def figure_format(out: Path) -> str:
    """Return the format that a figure's file name asks for, or raise `InputError`."""
    if out.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"the figure's file is {out}; a figure is a .png, .svg or .pdf file.")
    return out.suffix[1:]


def write_figure(figure: "Figure", out: Path) -> None:
    """Write a figure to a .png, .svg or .pdf file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120, format=figure_format(out))
    write_atomically(out, buffer.getvalue())


def shown_by(folder: Path) -> dict[str, str]:
    """Return how a page shows what was written to a folder, where that is in the folder of an audit."""
    for run in (folder, folder.parent):
        if (run / "run.json").exists() or (run / "runs.json").exists():
            return {"page": f"epsball report {shlex.quote(str(run))} shows it"}
    return {}


def output(result: Result, common: Common, *, heading: str, notes: dict[str, Any], code: int = 0) -> Output:
    """Return a result as text under a heading, or as one JSON document, with the notes."""
    if common.json:
        return Output(json.dumps({**result.to_json(), **notes}, indent=2, allow_nan=False), code)
    lines = [heading, "", str(result), *(f"{name}: {value}" for name, value in notes.items())]
    return Output("\n".join(lines), code)
