"""Single changes of a run folder that ``verify-run`` must find: ``python benchmarks/changed_runs.py --out FILE``.

A small run on the digits is copied and one thing in it changed: a number, a verdict or a flag of the evidence, a row
removed, two rows or two shards exchanged, a number of the ledger, a pixel of a witness or of its example, a number of
the chain, a digit of a certificate, a file removed. Counted is by what it is found: by the manifest, as every single
change must be; and, where a forger writes the manifest anew, by the hash that the audit printed, and by the contents
alone, with the model and the data. FILE gets one line per change, so that the same command goes on after a kill.
"""

import argparse
import gzip
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow
import torch
from safetensors.torch import load_file, save_file

import epsball as eb
from epsball.auditing.folder import read_arrow
from epsball.auditing.manifest import NAME, hash_of, run_files, write_manifest
from epsball.auditing.verifying.contents import files
from epsball.auditing.verifying.record import Record
from epsball.certificates import REAL, Verifier
from epsball.data import as_pixels
from epsball.results import arrow_bytes

Change = Callable[[Path, random.Random], str]

EXAMPLES, SHARD, BALL = 30, 10, "linf:0.08"


def table_of(folder: Path, draw: random.Random, kind: str = "evidence") -> tuple[Path, pyarrow.Table]:
    """Return one of the files of the evidence, or of the ledger, and its table."""
    file = draw.choice(sorted(folder.glob(f"{kind}-*.arrow")))
    return file, read_arrow(file)


def with_value(file: Path, table: pyarrow.Table, name: str, row: int, value: object) -> None:
    """Write one value of a table."""
    values = table[name].to_pylist()
    values[row] = value
    at = table.column_names.index(name)
    file.write_bytes(arrow_bytes(table.set_column(at, table.schema.field(at), pyarrow.array(values, table[name].type))))


def place_of(table: pyarrow.Table, draw: random.Random, names: list[str]) -> tuple[str, int, Any]:
    """Return one of the columns, a row where it has a value, and the value."""
    name = draw.choice([name for name in names if table[name].null_count < len(table)])
    values = table[name].to_pylist()
    row = draw.choice([at for at, value in enumerate(values) if value is not None])
    return name, row, values[row]


def named(table: pyarrow.Table, *kinds: str) -> list[str]:
    """Return the columns of some types."""
    return [field.name for field in table.schema if str(field.type) in kinds]


def a_margin(folder: Path, draw: random.Random) -> str:
    """Change a natural, certified or attacked margin by a tenth of itself."""
    file, table = table_of(folder, draw)
    name, row, value = place_of(table, draw, ["natural.margin", "certificate.margin", "attack.margin"])
    with_value(file, table, name, row, value + draw.choice([-1, 1]) * abs(value) / 10)
    return name


def a_number(folder: Path, draw: random.Random) -> str:
    """Change any number of the evidence."""
    file, table = table_of(folder, draw)
    name, row, value = place_of(table, draw, named(table, "double", "int64"))
    with_value(file, table, name, row, value + draw.choice([-1, 1]))
    return name


def of_the_ledger(folder: Path, draw: random.Random) -> str:
    """Change any number of the ledger."""
    file, table = table_of(folder, draw, "ledger")
    name, row, value = place_of(table, draw, named(table, "double", "int64"))
    with_value(file, table, name, row, value + draw.choice([-1, 1]))
    return name


def a_flag(folder: Path, draw: random.Random) -> str:
    """Turn a flag over."""
    file, table = table_of(folder, draw)
    name, row, value = place_of(table, draw, named(table, "bool"))
    with_value(file, table, name, row, not value)
    return name


def a_verdict(folder: Path, draw: random.Random) -> str:
    """Give an example another verdict."""
    file, table = table_of(folder, draw)
    row = draw.randrange(len(table))
    others = {"misclassified", "broken", "certified", "undecided", "invalid"} - {table["verdict"][row].as_py()}
    verdict = draw.choice(sorted(others))
    with_value(file, table, "verdict", row, verdict)
    return verdict


def a_row_removed(folder: Path, draw: random.Random) -> str:
    """Remove an example."""
    file, table = table_of(folder, draw)
    row = draw.randrange(len(table))
    file.write_bytes(arrow_bytes(pyarrow.concat_tables([table.slice(0, row), table.slice(row + 1)]).combine_chunks()))
    return file.name


def rows_exchanged(folder: Path, draw: random.Random) -> str:
    """Exchange two examples."""
    file, table = table_of(folder, draw)
    order = list(range(len(table)))
    a, b = draw.sample(order, 2)
    order[a], order[b] = order[b], order[a]
    file.write_bytes(arrow_bytes(table.take(order)))
    return file.name


def shards_exchanged(folder: Path, draw: random.Random) -> str:
    """Exchange two shards."""
    a, b = draw.sample(sorted(folder.glob("evidence-*.arrow")), 2)
    content = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(content)
    return f"{a.name}, {b.name}"


def a_pixel(folder: Path, draw: random.Random) -> str:
    """Change a pixel of a witness, or of the example it is about, beyond the ball."""
    file = draw.choice([file for file in sorted(folder.glob("witnesses-*")) if len(load_file(file)["index"])])
    tensors = load_file(file)
    name = draw.choice(["x", "x_adv"])
    flat = tensors[name].flatten()
    at = draw.randrange(len(flat))
    flat[at] = 1 - flat[at] if abs(1 - 2 * flat[at]) > 0.3 else flat[at] + 0.4
    save_file({**tensors, name: flat.view(tensors[name].shape)}, file)
    return name


def a_certificate(folder: Path, draw: random.Random) -> str:
    """Change a digit in the content of a certificate."""
    file = draw.choice(sorted((folder / "certificates").glob("certificate-*")))
    content = bytearray(gzip.decompress(file.read_bytes()))
    digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()]
    at = draw.choice(digits)
    content[at] = ord(str((int(chr(content[at])) + draw.randrange(1, 10)) % 10))
    file.write_bytes(gzip.compress(bytes(content), mtime=0))
    return file.name


def the_chain(folder: Path, draw: random.Random) -> str:
    """Change a number of the chain: a place, an end of its interval, a risk, the count of a verdict."""
    file = folder / "chain.json"
    document = json.loads(file.read_text())
    numbers = [
        (entry, name)
        for entry in (
            *document["places"].values(),
            *(place["interval"] for place in document["places"].values()),
            *document["risk"].values(),
            document["verdicts"],
        )
        for name, value in entry.items()
        if isinstance(value, int | float)
    ]
    entry, name = draw.choice(numbers)
    entry[name] += 1 if isinstance(entry[name], int) else draw.choice([-1, 1]) * 0.05
    file.write_text(json.dumps(document))
    return name


def a_file_removed(folder: Path, draw: random.Random) -> str:
    """Remove a file of the run, or its manifest."""
    name = draw.choice([*run_files(folder), NAME])
    (folder / name).unlink()
    return name


CHANGES: dict[str, Change] = {
    "a margin": a_margin,
    "another number of the evidence": a_number,
    "a number of the ledger": of_the_ledger,
    "a flag": a_flag,
    "a verdict": a_verdict,
    "a row removed": a_row_removed,
    "two rows exchanged": rows_exchanged,
    "two shards exchanged": shards_exchanged,
    "a pixel": a_pixel,
    "a digit of a certificate": a_certificate,
    "the chain": the_chain,
    "a file removed": a_file_removed,
}


def case() -> tuple[eb.Classifier, tuple[torch.Tensor, torch.Tensor]]:
    """Return a small network, trained on the digits, and test images."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10))
    x, y = eb.data.load("digits,split=train")[:]
    x, optimiser = as_pixels(x), torch.optim.Adam(network.parameters(), 3e-3)
    for rows in torch.randperm(8 * len(x)).remainder(len(x)).split(64):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
        optimiser.step()
    x, y = eb.data.load(f"digits,first={EXAMPLES}")[:]
    return eb.Classifier(network), (as_pixels(x), y)


def found_by_manifest(folder: Path) -> bool:
    """Return whether the first check of a verification, that of the files, finds something, or no run at all."""
    try:
        return not all(finding.holds for finding in files(Record.read(folder), None))
    except eb.InputError:
        return True


def found_by_contents(folder: Path, subject: tuple[Any, Any]) -> bool:
    """Return whether a verification with the model and the data finds something, or no run at all."""
    try:
        return not eb.verify_run(folder, *subject).holds
    except eb.InputError:
        return True


def changed(run: Path, place: Path, number: int, manifest: str, subject: tuple[Any, Any]) -> dict[str, Any]:
    """Make a change and return by what it is found."""
    kind = list(CHANGES)[number % len(CHANGES)]
    copied = Path(shutil.copytree(run, place / "copy"))
    what = CHANGES[kind](copied, random.Random(number))
    by_manifest = found_by_manifest(copied)
    write_manifest(copied)
    row = {
        "number": number,
        "kind": kind,
        "what": what,
        "manifest": by_manifest,
        "hash": hash_of(copied / NAME) != manifest or what == NAME,
        "contents": found_by_contents(copied, subject),
    }
    shutil.rmtree(copied)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Return how many changes of each kind are found by what."""
    lines = ["| change | made | manifest | printed hash | contents alone |", "| --- | ---: | ---: | ---: | ---: |"]
    for kind in (*CHANGES, "all"):
        mine = [row for row in rows if kind in (row["kind"], "all")]
        counts = Counter(name for row in mine for name in ("manifest", "hash", "contents") if row[name])
        lines.append(f"| {kind} | {len(mine)} | {counts['manifest']} | {counts['hash']} | {counts['contents']} |")
    return "\n".join(lines)


def main() -> None:
    """Make the changes that are not made yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True, help="one line per change")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    subject = case()
    rows = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    with tempfile.TemporaryDirectory() as folder, arguments.out.open("a") as file:
        run = Path(folder) / "run"
        audit = eb.audit(*subject, eb.Ball.parse(BALL), folder=run, shard_size=SHARD)
        print(dict(audit.chain.verdicts), flush=True)
        # The model is never changed, so its network is captured once.
        captured = Verifier.of(subject[0], tuple(subject[1][0].shape[1:]), REAL)
        with patch.object(Verifier, "of", lambda *_: captured):
            made = {row["number"] for row in rows}
            for number in (number for number in range(arguments.changes) if number not in made):
                rows.append(changed(run, Path(folder), number, str(audit.manifest), subject))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
    missed = Counter(f"{row['kind']}: {row['what']}" for row in rows if not row["contents"])
    print(table(rows))
    print("\nnot found by the contents alone:", *(f"{count} {what}" for what, count in missed.most_common()), sep="\n")


if __name__ == "__main__":
    main()
