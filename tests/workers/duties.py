"""What workers do in the tests: functions that a spawned process can import."""

import os
import signal
import time
from pathlib import Path

from epsball import progress
from epsball.errors import InputError


class Duty:
    """Squares numbers; dies, fails or waits at those it is told to.

    Parameters
    ----------
    folder
        Where it notes who did what.
    dies
        How often its worker dies at a number.
    """

    def __init__(self, folder=None, dies=None, fails=None, unready=False, seconds=0.0):
        self.folder, self.dies, self.fails, self.unready, self.seconds = folder, dies or {}, fails, unready, seconds

    def __call__(self, number):
        if self.unready:
            os._exit(3)

        def do(attempt):
            progress.report("squares", 0, 1)
            time.sleep(self.seconds)
            if attempt.tries <= self.dies.get(attempt.task, 0):
                os.kill(os.getpid(), signal.SIGKILL)
            if attempt.task == self.fails:
                raise InputError("seven is bad luck. Take eight.")
            if self.folder is not None:
                Path(self.folder, f"{attempt.task}-{number}-{os.getpid()}").touch()
            return attempt.task**2

        return do
