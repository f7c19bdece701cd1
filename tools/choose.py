"""Print the page to choose a method from: ``python tools/choose.py > docs/choose.md``.

Its tables are the registries, beside what was measured: `docs/evidence/attack-yields.json` and
`certificate-yields.json` (`benchmarks/choosing.py`), `epsball.certificates.yields`, and the chapter's items in
`docs/chapter`.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from epsball.certificates import METHODS
from epsball.certificates.yields import CLASSES, CLOSED
from epsball.cli.listing import SUBJECTS, USES, Entry, Subject, listing
from evidence import EVIDENCE, OLD, ROOT, measured

HEAD = """# Which attack, objective, certificate?

Made by `python tools/choose.py` from the registries (`epsball list` prints the same, `epsball explain NAME` more) and
from what was measured; each table says where.

- **Attacks.** `ensemble` to measure accuracy under attack; `adaptive` where the model or its input pipeline hides
  gradients; `autoattack` to compare with published figures; a minimum-norm attack (`fmn`, `ddn`) for distances;
  `square` or `hop-skip-jump` where there is no gradient to be had.
- **Objectives.** `trades` or `pgd` against attacks; `mtl-ibp` or `ibp` for proofs; `gaussian` for a classifier that
  will be smoothed.
- **Certificates.** `auto` spends what an example needs; `complete` settles small networks; `lipschitz` is for
  networks of bounded constants.
"""

ATTACKED, PROVED_BY = "attack-yields.json", "certificate-yields.json"
NETWORKS = ("linf", "l2", "rounded")
PROVED = ("ibp", "pgd")
CHAPTER = ROOT / "docs" / "chapter"

DEFENCES = {
    "standard": ("standard", None, "standard"),
    "pgd": ("MMS18", "pgd-5", "pgd-5"),
    "trades,beta=1": ("TRADES 1/lambda=1", None, None),
    "trades,beta=6": ("TRADES 1/lambda=6", "trades-6", "trades-6"),
    "kgb17": ("KGB17", None, None),
    "stability": ("ZSLG16", None, None),
    "input-gradient": ("RDV17", None, None),
    "wong-kolter": ("WSMK18", "wsmk18", None),
    "ibp": (None, "ibp", "ibp"),
}
"""Objectives by their names in three items: row of Table 17.1, network of the front, training of the costs."""


def main() -> None:
    """Print the page."""
    print(HEAD)
    entries = listing().entries
    for subject in SUBJECTS:
        print(f"## {subject.capitalize()}\n\n    {USES[subject]}\n")
        print("\n".join(table(*registered(subject, entries[subject]))))
        print()
        tables = {"attacks": attacks_measured, "objectives": defences_measured, "methods": bounds_measured}
        if subject in tables:
            print("\n".join(tables[subject]()))
            print()


def registered(subject: Subject, entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of what is registered."""
    normed = any(entry.norms is not None for entry in entries)
    head = ["name", "what", *(["norms"] if normed else [])]
    rows = [
        [f"`{entry.name}`", entry.what.replace("|", "\\|"), *([", ".join(entry.norms or ())] if normed else [])]
        for entry in entries
    ]
    return head, rows


def attacks_measured() -> list[str]:
    """Return what attacks left standing, and what they spent."""
    found = _read(EVIDENCE / ATTACKED)
    values = found["values"]
    n = values["pgd.linf"]["n"]
    said = (
        "Accuracy under each attack with its default options, and passes per example (verification included), on the "
        f"first {n} digits ({found['date']}, `{found['command']}`): a network trained by PGD at linf:0.1, one trained "
        "by PGD at l2:0.5, and the standard one at linf:0.1 behind a rounding of its input to 16 levels that lets no "
        "gradient pass. Lower is stronger. Minimum-norm attacks are told by what falls within the ball. A dash: the "
        "attack refuses such a network, or is not defined for the norm. `transfer` goes by the standard network, "
        "`collision` by the training digits. Differences below .1 may be chance for other examples."
    )
    names = dict.fromkeys(key.partition(".")[0] for key in values)
    order = sorted(names, key=lambda name: _left_and_spent(values, name))
    rows = [[f"`{name}`", *(_cell(values, f"{name}.{network}") for network in NETWORKS)] for name in order]
    return ["### Attacks, as measured", "", said, "", *table(["name", "PGD, linf", "PGD, l2", "rounded"], rows)]


def _left_and_spent(values: dict[str, Any], name: str) -> tuple[int, float, int]:
    """Return what attacks are sorted by: the first network that they were run on, what they left there, and passes."""
    first = next(number for number, network in enumerate(NETWORKS) if f"{name}.{network}" in values)
    key = f"{name}.{NETWORKS[first]}"
    return first, values[key]["value"], values[f"{key}.passes"]["value"]


def _cell(values: dict[str, Any], key: str) -> str:
    if key not in values:
        return "-"
    left, spent = _decimal(values[key]["value"]), f"{values[key + '.passes']['value']:,}"
    return f"{left}{_mark(ATTACKED, key)} ({spent}{_mark(ATTACKED, key + '.passes')})"


def _mark(file: str, path: str) -> str:
    return f"<!-- measured: {file}#{path} -->{OLD if measured(file, path).outdated else ''}"


def defences_measured() -> list[str]:
    """Return what networks of the digits keep, by the objective that they were trained with."""
    items = {name: _read(CHAPTER / f"{name}.json") for name in ("table-17.1", "certified-front", "cost", "beta")}
    numbers = {name: item["numbers"] for name, item in items.items()}
    lines = {line["defence"]: line for line in _lines(numbers["table-17.1"]["table"])}
    front, beta = numbers["certified-front"]["examples"], numbers["beta"]["examples"]
    seconds = {name: median(column) for name, column in numbers["cost"]["seconds"].items()}
    rows = []
    for objective, (row, network, training) in DEFENCES.items():
        line, shares = lines.get(row or ""), front["shares"]
        natural, attacked = (
            (_decimal(line["ours natural"] / 100.0), _decimal(line["ours strong"] / 100.0)) if line else ("-", "-")
        )
        if network == "ibp":
            natural, attacked = _decimal(shares["ibp.right"]), f"{_decimal(shares['ibp.stands'])} (PGD-20)"
        if row == "standard":
            shares = beta["shares"]
            natural, attacked = _decimal(shares["standard.right"]), f"{_decimal(shares['standard.stands'])} (PGD-20)"
        certified = _decimal(front["shares"][f"{network}.certified"]) if network else "-"
        cost = f"{seconds[training] / seconds['standard']:.1f}" if training in seconds else "-"
        rows.append([f"`{objective}`", natural, attacked, certified, cost])
    said = (
        f"Small networks of the digits at linf:0.1 ([gallery](gallery.md), {items['table-17.1']['date']}): natural "
        "accuracy and accuracy under AutoAttack on 100 digits (`epsball chapter run table-17.1`; PGD-20 of "
        f"{beta['rows']} by `beta`, of {front['rows']} by `certified-front`), certified by `crown` of {front['rows']} "
        "(`certified-front`), and the CPU time of an epoch in epochs of standard training (`cost`). `ibp` was trained "
        "for linf:0.16. On other data the order may be another one; `epsball train OBJECTIVE --front` "
        "measures it."
    )
    head = ["objective", "natural", "under AutoAttack", "certified", "epoch"]
    return ["### Defences, as measured", "", said, "", *table(head, rows)]


def _lines(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def bounds_measured() -> list[str]:
    """Return what bounds proved, and what each closed of what was open before it."""
    found = _read(EVIDENCE / PROVED_BY)
    values = found["values"]
    n = values["auto.ibp"]["n"]
    said = (
        f"Certified of the first {n} digits at linf:0.1, and CPU seconds per example ({found['date']}, "
        f"`{found['command']}`): a network trained by interval bounds, and one trained by PGD."
    )
    names = dict.fromkeys(key.partition(".")[0] for key in values)
    left = [f"`{name}`" for name in METHODS if name not in names]
    said += f" Left out, as it takes too long for this table: {', '.join(left)}." if left else ""
    rows = [[f"`{name}`", *(_proved(values, f"{name}.{network}") for network in PROVED)] for name in names]
    ends = (0.0, *CLASSES, 1.0)
    classes = [f"{low:g} to {high:g}" for low, high in pairwise(ends)]
    closed = [
        [f"`{name}`", *(f"{count} of {total}" if total else "-" for count, total in counts)]
        for name, counts in CLOSED.items()
    ]
    yields = (
        "What the cascade goes by: how many examples a bound closed of those that PGD had not broken and no cheaper "
        "bound had closed, by how much was lacking before it (the share of the way from the margin at x down to the "
        "best bound that lies below 0); published networks of MNIST (`epsball.certificates.yields`, "
        "`benchmarks/yields.py`)."
    )
    proved = table(["name", "trained by intervals", "trained by PGD"], rows)
    return ["### Bounds, as measured", "", said, "", *proved, "", yields, "", *table(["name", *classes], closed)]


def _proved(values: dict[str, Any], key: str) -> str:
    if key not in values:
        return "-"
    share, seconds = _decimal(values[key]["value"]), f"{values[key + '.seconds']['value']:.2g}"
    return f"{share}{_mark(PROVED_BY, key)} ({seconds}{_mark(PROVED_BY, key + '.seconds')})"


def _decimal(share: float) -> str:
    return f"{share:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _read(path: Any) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
