"""Rewrite the measured numbers of README, pages and docstrings from their evidence files: ``python tools/measured.py``.

With ``--check`` nothing is written; the files that differ are named, and the exit code is 1.
"""

import sys

from evidence import ANY_MARK, ROOT, EvidenceError, documents, rewritten


def main(*, check: bool) -> int:
    """Rewrite or compare; return the exit code."""
    changed = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if not ANY_MARK.search(text):
            continue
        try:
            new = rewritten(text)
        except EvidenceError as error:
            print(f"{path.relative_to(ROOT)}: {error}", file=sys.stderr)
            return 2
        if new != text:
            changed.append(path.relative_to(ROOT))
            if not check:
                path.write_text(new, encoding="utf-8")
    for path in changed:
        print(f"{path}: {'differs from its evidence; make numbers' if check else 'rewritten'}")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
