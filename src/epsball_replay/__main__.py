"""``python -m epsball_replay FILE...``: exit 0 if all are accepted, 1 if one is rejected, 2 if one is unreadable."""

import sys
import time

from epsball_replay import ReplayError, replay
from epsball_replay.derive import Progress

_PAUSE = 5.0
"""Seconds between two lines of progress."""


def main(arguments: list[str]) -> int:
    """Replay each file and print one line per file."""
    model_hash, paths = (arguments[1], arguments[2:]) if arguments[:1] == ["--model-hash"] else (None, arguments)
    if not paths or paths[0] in ("-h", "--help"):
        print("usage: python -m epsball_replay [--model-hash HASH] CERTIFICATE.json.gz ...")
        return 0 if paths else 2
    worst = 0
    for path in paths:
        try:
            verdict = replay(path, model_hash=model_hash, progress=_lines(path))
            print(f"{path}: {verdict}", flush=True)
            worst = max(worst, 0 if verdict.accepted else 1)
        except ReplayError as error:
            print(f"{path}: not replayed: {error}", flush=True)
            worst = 2
    return worst


def _lines(path: str) -> Progress:
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _PAUSE:
            last = time.monotonic()
            print(f"{path}: {done} of {total} entries bounded", file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
