"""The process of a worker: prepares once, then does one task after another."""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from typing import Any

from epsball.progress import Listener, listening

APART = 0.2
"""Seconds between two reports of progress."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

Message = tuple[Any, ...]
"""``("ready",)``, ``("progress", what, done, total)``, ``("done", result)`` or ``("failed", exception)``."""


def serve(pipe: Connection, prepare: bytes, number: int, threads: int) -> None:
    """Do the tasks that come through the pipe until None comes.

    Ctrl-C is the parent's; a worker whose parent is gone ends by itself.

    Parameters
    ----------
    pipe
        Takes an `Attempt`, gives messages.
    prepare
        A pickled callable; ``prepare(number)`` returns what does a task.
    number, threads
        The worker's number, and its CPU threads.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    send = threading.Lock()

    def tell(*message: Any) -> None:
        content = pickle.dumps(
            message
        )  # Not pipe.send: PyTorch would send tensors as handles that die with the process.
        with send:
            pipe.send_bytes(content)

    with listening(_seldom(tell)):
        do = _tried(lambda: prepared(prepare, number, threads), tell)
        if do is None:
            return
        tell("ready")
        while (attempt := pickle.loads(pipe.recv_bytes())) is not None:
            done = _tried(lambda attempt=attempt: (do(attempt),), tell)
            if done is not None:
                tell("done", done[0])


def prepared(prepare: bytes, number: int, threads: int) -> Callable[[Any], Any]:
    """Return what does a task, made with so many CPU threads and computing with them."""
    make = pickle.loads(prepare)
    if "torch" in sys.modules:  # Where no task computes, starting a worker is cheap.
        sys.modules["torch"].set_num_threads(threads)
    return make(number)


def _tried(call: Callable[[], Any], tell: Callable[..., None]) -> Any:
    """Return what a call returns; None where it failed, which the parent is told."""
    try:
        return call()
    except MemoryError:
        raise  # The process ends: another one may have room.
    except Exception as error:
        tell("failed", sendable(error))
        return None


def sendable(error: Exception) -> Exception:
    """Return an exception that can be pickled, with the place where it arose."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error))}")
    return error


def _seldom(tell: Callable[..., None]) -> Listener:
    """Return a listener that tells the parent now and then, and whenever something is finished or begins."""
    told: dict[str, float] = {}

    def listen(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done in (0, total) or now - told.get(what, 0.0) >= APART:
            told[what] = now
            tell("progress", what, done, total)

    return listen


def _end_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
