"""The command line's entry: registers the verbs, maps errors to exit codes."""

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout

from cyclopts import App, CycloptsError
from rich.console import Console

from epsball._version import __version__
from epsball.cli.attack import attack
from epsball.cli.audit import audit
from epsball.cli.card import card
from epsball.cli.certify import certify
from epsball.cli.common import INTERRUPTED, Output
from epsball.cli.diagnose import diagnose
from epsball.cli.figure import figure
from epsball.cli.fingerprint import fingerprint
from epsball.cli.limit import limit
from epsball.cli.replay import replay
from epsball.cli.sensitivity import sensitivity
from epsball.cli.similarity import similarity
from epsball.cli.train import train
from epsball.cli.zoo import zoo
from epsball.errors import EpsballError

HELP = """How robust is a classifier really, provably, and compared with what is possible at all.

MODEL is NAME[@WEIGHTS][,mean=..][,std=..][,ARG=..]: an architecture, FILE.py:function, a .pt2 file, timm:NAME, or a
card written by training. DATA is KIND:PATH[,split=test][,first=1000][,indices=FILE]; KIND is digits, idx, cifar10,
npz, folder or hf. BALL is NORM:RADIUS, as in linf:8/255 or l2:0.5, in pixels of [0, 1].

Exit codes: 0 done, 1 failed, 2 bad input, 3 bad model, 4 unsupported operation, 5 missing extra, 6 bad certificate,
7 broken assumption, 8 contradiction between a witness and a certificate, 130 interrupted.
"""

app = App(
    name="epsball",
    help=HELP,
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for verb in (audit, attack, diagnose, certify, replay, fingerprint, train, card, limit, similarity, sensitivity, figure, zoo):
    app.command(verb)


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
        done = _run(sys.argv[1:] if arguments is None else list(arguments), Console(file=stdout))
    try:
        print(done.text, file=stdout, end="\n" if done.text else "")
        stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    return done.code


def _run(arguments: list[str], console: Console) -> Output:
    try:
        done = app(arguments, console=console, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _failed(f"error: {error}\nSee 'epsball --help' and 'epsball COMMAND --help'.", 2)
    except EpsballError as error:
        return _failed(f"error: {error}", error.exit_code)
    except KeyboardInterrupt as interruption:
        kept = str(interruption) or "with --out, the finished parts are kept there"
        return _failed(f"interrupted; {kept}", INTERRUPTED)
    return done if isinstance(done, Output) else Output("")


def _failed(message: str, code: int) -> Output:
    print(message, file=sys.stderr)
    return Output("", code)


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
