"""``epsball --install-completion``: the shell completes commands, options and choices."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from epsball.cli.common import Output
from epsball.errors import InputError

Shell = Literal["bash", "zsh", "fish"]

_Shell = Annotated[Shell | None, Parameter(help="The shell; by default the one that runs the command.")]
_Output = Annotated[Path | None, Parameter(help="File of the completions; by default where the shell looks for them.")]


def installation(app: App) -> Callable[..., Output]:
    """Return the command that installs the completions of an app."""

    def install_completion(*, shell: _Shell = None, output: _Output = None) -> Output:
        """Let the shell complete commands, options and their choices.

        Without --output, bash and zsh get a line in ~/.bashrc or ~/.zshrc that loads the file; fish needs none.
        """
        from cyclopts.completion.detect import ShellDetectionError

        try:
            written = app.install_completion(shell=shell, output=output, add_to_startup=output is None)
        except ShellDetectionError as error:
            raise InputError("the shell cannot be told; name it, as in --shell bash.") from error
        how = "open a new terminal to use them" if output is None else "load them from there"
        return Output(f"completions are in {written}; {how}.")

    return install_completion
