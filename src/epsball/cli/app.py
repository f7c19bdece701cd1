"""The command line's entry: registers the verbs, maps errors to exit codes."""

import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from epsball import __version__
from epsball.cli.attack import attack
from epsball.cli.audit import audit
from epsball.cli.train import train
from epsball.errors import EpsballError

INTERRUPTED = 130

HELP = """How robust is a classifier really, provably, and compared with what is possible at all.

MODEL is NAME[@WEIGHTS][,mean=..][,std=..][,ARG=..]: an architecture, FILE.py:function, a .pt2 file, timm:NAME, or a
card written by training. DATA is KIND:PATH[,split=test][,first=1000][,indices=FILE]; KIND is digits, idx, cifar10,
npz, folder or hf. BALL is NORM:RADIUS, as in linf:8/255 or l2:0.5, in pixels of [0, 1].

Exit codes: 0 done, 1 failed, 2 bad input, 3 bad model, 4 unsupported operation, 5 missing extra, 6 bad certificate,
7 broken assumption, 8 contradiction between a witness and a certificate, 130 interrupted.
"""

app = App(name="epsball", help=HELP, version=__version__, help_format="plaintext", result_action="return_value")
for verb in (audit, attack, train):
    app.command(verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    warnings.showwarning = _show_warning
    try:
        app(sys.argv[1:] if arguments is None else list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print(f"error: {error}", file=sys.stderr)
        print("See 'epsball --help' and 'epsball COMMAND --help'.", file=sys.stderr)
        return 2
    except EpsballError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; finished work is kept, the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    return 0


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
