"""``python -m epsball_replay FILE...``: exit 0 if all are accepted, 1 if one is rejected, 2 if one is unreadable."""

import sys

from epsball_replay import ReplayError, replay


def main(paths: list[str]) -> int:
    """Replay each file and print one line per file."""
    if not paths or paths[0] in ("-h", "--help"):
        print("usage: python -m epsball_replay CERTIFICATE.json ...")
        return 0 if paths else 2
    worst = 0
    for path in paths:
        try:
            verdict = replay(path)
        except ReplayError as error:
            print(f"{path}: not replayed: {error}")
            worst = 2
            continue
        print(f"{path}: {verdict}")
        worst = max(worst, 0 if verdict.accepted else 1)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
