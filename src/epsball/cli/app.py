"""The command line's entry: registers the verbs, maps errors to exit codes."""

import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from epsball._version import __version__
from epsball.cli.attack import attack
from epsball.cli.audit import audit
from epsball.cli.card import card
from epsball.cli.certify import certify
from epsball.cli.chapter import chapter
from epsball.cli.check import check
from epsball.cli.common import INTERRUPTED, Output, called_by, described, flowing, say
from epsball.cli.compare import compare
from epsball.cli.complaints import complaint
from epsball.cli.completion import installation
from epsball.cli.configuration import from_file
from epsball.cli.diagnose import diagnose
from epsball.cli.exit_codes import listed
from epsball.cli.explain import explain
from epsball.cli.export import export
from epsball.cli.figure import figure
from epsball.cli.fingerprint import fingerprint
from epsball.cli.gate import gate
from epsball.cli.landscape import landscape
from epsball.cli.limit import limit
from epsball.cli.listing import list_names
from epsball.cli.merge import merge
from epsball.cli.plan import plan
from epsball.cli.progress import Loudness, showing
from epsball.cli.project import from_project, used
from epsball.cli.replay import replay
from epsball.cli.report import report
from epsball.cli.sensitivity import sensitivity
from epsball.cli.similarity import similarity
from epsball.cli.smooth import smooth
from epsball.cli.supports import solver_name, supports
from epsball.cli.train import train
from epsball.cli.verify import verify
from epsball.cli.verify_run import verify_run
from epsball.cli.zoo import zoo
from epsball.errors import EpsballError
from epsball.interface import command_line
from epsball.option_text import is_own

HELP = """How robust is a classifier really, provably, and compared with what is possible at all.

MODEL is NAME[@WEIGHTS][,mean=..][,std=..][,ARG=..]: an architecture, FILE.py:function, a .pt2 or .onnx file,
timm:NAME, hf:NAME, or a card written by training. DATA is KIND:PATH[,split=test][,first=1000][,indices=FILE]; KIND
is digits, idx, cifar10, npz, folder, hf, webdataset or parquet. The ball is NORM:RADIUS, as in linf:8/255 or l2:0.5, in
pixels of [0, 1]. epsball list names what there is.

For example: epsball attack cnn_a@weights.pt idx:mnist,first=100 --ball linf:0.1

Exit codes: {codes}.
"""

app = App(
    name="epsball",
    help=flowing(HELP.format(codes=listed())),
    version=__version__,
    help_format="plaintext",
    default_parameter=Parameter(negative_iterable=()),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.config = from_project(app)
for verb in (
    check,
    audit,
    attack,
    diagnose,
    certify,
    replay,
    smooth,
    compare,
    report,
    verify_run,
    plan,
    merge,
    export,
    gate,
    verify,
    supports,
    fingerprint,
    card,
    limit,
    similarity,
    sensitivity,
    landscape,
):
    app.command(verb, help=flowing(described(verb)))
train.config = (from_file, from_project(app))
app.command(train)
app.command(figure)
app.command(zoo)
app.command(chapter)
app.command(list_names, name="list")
app.command(explain, help=flowing(described(explain)))
app.command(installation(app), name="--install-completion")
app.command(solver_name, name="--name")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code.

    Only a command's own output goes to standard output; what a model prints goes to standard
    error, as do warnings, errors and progress.

    Examples
    --------
    >>> main(["audit", "mlp", "digit", "--ball", "linf:0.1"])  # and says: Did you mean 'digits'?
    2
    """
    stdout = sys.stdout
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.showwarning = _show_warning
        given = sys.argv[1:] if arguments is None else list(arguments)
        done = _run(given, Console(file=stdout), own_process=arguments is None)
    try:
        print(done.text, file=stdout, end="\n" if done.text else "")
        stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    return done.code


def _run(arguments: list[str], console: Console, *, own_process: bool) -> Output:
    try:
        command, given, _ = app.parse_args(arguments, console=console, exit_on_error=False, print_error=False)
        loudness = next((value for value in given.arguments.values() if isinstance(value, Loudness)), Loudness())
        with showing(loudness), called_by(arguments, own_process=own_process), command_line(_text(arguments)):
            say([] if used() is None else [f"options are taken from {used()}"])
            done = command(*given.args, **given.kwargs)
    except CycloptsError as error:
        return _failed(f"error: {complaint(error)}", 2)
    except EpsballError as error:
        return _failed(f"error: {error}\nSee 'epsball explain {error.page}'.", error.exit_code)
    except Exception as error:
        place = _in_own_code(error)
        if place is None:
            raise
        return _failed(f"error: {place}: {type(error).__name__}: {error}. Your own code failed; correct it there.", 2)
    except KeyboardInterrupt as interruption:
        kept = str(interruption) or "nothing was found yet"
        return _failed(f"interrupted; {kept}", INTERRUPTED)
    return done if isinstance(done, Output) else Output("")


def _text(arguments: Sequence[str]) -> str:
    """Return the command as a shell takes it; where a project's file gives options, a remark says so."""
    return shlex.join(["epsball", *arguments]) + (f"  # with the options of {used()}" if used() else "")


def _in_own_code(error: Exception) -> str | None:
    """Return file and line of the user's own code in which an error arose, if it did."""
    frames = [frame for frame in traceback.walk_tb(error.__traceback__) if is_own(frame[0].f_globals["__name__"])]
    return f"{frames[-1][0].f_code.co_filename}, line {frames[-1][1]}" if frames else None


def _failed(message: str, code: int) -> Output:
    print(message, file=sys.stderr)
    return Output("", code)


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
