"""Print the page to choose a method from: ``python tools/choose.py > docs/choose.md``."""

from epsball.cli.listing import SUBJECTS, USES, listing

HEAD = """# Which attack, objective, certificate?

Made by `python tools/choose.py` from the registries; `epsball list` prints the same, `epsball explain NAME` more.

- **Attacks.** `ensemble` to measure accuracy under attack; `adaptive` where the model or its input pipeline hides
  gradients; `autoattack` to compare with published figures; a minimum-norm attack (`fmn`, `ddn`) for distances;
  `square` or `hop-skip-jump` where there is no gradient to be had.
- **Objectives.** `trades` or `pgd` against attacks; `mtl-ibp` or `ibp` for proofs; `gaussian` for a classifier that
  will be smoothed.
- **Certificates.** `auto` spends what an example needs; `complete` settles small networks; `lipschitz` is for
  networks of bounded constants.
"""


def main() -> None:
    """Print the page."""
    print(HEAD)
    entries = listing().entries
    for subject in SUBJECTS:
        print(f"## {subject.capitalize()}\n\n    {USES[subject]}\n")
        normed = any(entry.norms is not None for entry in entries[subject])
        print(f"| name | what |{' norms |' if normed else ''}\n| --- | --- |{' --- |' if normed else ''}")
        for entry in entries[subject]:
            norms = f" {', '.join(entry.norms or ())} |" if normed else ""
            print(f"| `{entry.name}` | {entry.what.replace('|', chr(92) + '|')} |{norms}")
        print()


if __name__ == "__main__":
    main()
