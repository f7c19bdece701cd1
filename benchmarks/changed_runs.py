"""Single changes of a run folder that ``verify-run`` must find: ``python benchmarks/changed_runs.py``.

A small run is copied and one thing in it changed: a number, a verdict or a flag of the evidence, a row removed or two
exchanged, a pixel of a witness or of its example, a number of the chain, a digit of a certificate, a file removed.
Printed: by kind of change how many were made, how many are found by the hashes, since a file is not the one in the
manifest and a manifest made anew is not the one whose hash the audit printed, and how many the contents alone show,
with the model and the data, where the manifest is made anew and no hash is known.
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

import pyarrow
import torch
from safetensors.torch import load_file, save_file

import epsball as eb
from epsball.auditing.folder import read_arrow
from epsball.auditing.manifest import NAME, hash_of, write_manifest
from epsball.results import arrow_bytes

Change = Callable[[Path, random.Random], None]


def evidence(folder: Path) -> tuple[Path, pyarrow.Table]:
    """Return the file of the evidence and its table."""
    file = folder / "evidence-00000.arrow"
    return file, read_arrow(file)


def with_value(folder: Path, name: str, row: int, value: object) -> None:
    """Write one value of the evidence."""
    file, table = evidence(folder)
    values = table[name].to_pylist()
    values[row] = value
    at = table.column_names.index(name)
    file.write_bytes(arrow_bytes(table.set_column(at, table.schema.field(at), pyarrow.array(values, table[name].type))))


def column_of(folder: Path, draw: random.Random, kinds: tuple[str, ...]) -> tuple[str, int, Any]:
    """Return a column of one of these types, a row where it has a value, and the value."""
    _, table = evidence(folder)
    names = [
        field.name for field in table.schema if str(field.type) in kinds and table[field.name].null_count < len(table)
    ]
    name = draw.choice(names)
    values = table[name].to_pylist()
    row = draw.choice([at for at, value in enumerate(values) if value is not None])
    return name, row, values[row]


def a_margin(folder: Path, draw: random.Random) -> None:
    """Change a natural, certified or attacked margin by a tenth of itself."""
    name = draw.choice(["natural.margin", "certificate.margin", "attack.margin"])
    _, table = evidence(folder)
    values = table[name].to_pylist()
    row = draw.choice([at for at, value in enumerate(values) if value is not None])
    with_value(folder, name, row, values[row] + draw.choice([-1, 1]) * (abs(values[row]) / 10 + 0.01))


def a_number(folder: Path, draw: random.Random) -> None:
    """Change any number of the evidence."""
    name, row, value = column_of(folder, draw, ("double", "int64"))
    with_value(folder, name, row, value + 1)


def a_flag(folder: Path, draw: random.Random) -> None:
    """Turn a flag over."""
    name, row, value = column_of(folder, draw, ("bool",))
    with_value(folder, name, row, not value)


def a_verdict(folder: Path, draw: random.Random) -> None:
    """Give an example another verdict."""
    _, table = evidence(folder)
    row = draw.randrange(len(table))
    others = {"misclassified", "broken", "certified", "undecided"} - {table["verdict"][row].as_py()}
    with_value(folder, "verdict", row, draw.choice(sorted(others)))


def a_row_removed(folder: Path, draw: random.Random) -> None:
    """Remove an example."""
    file, table = evidence(folder)
    row = draw.randrange(len(table))
    file.write_bytes(arrow_bytes(pyarrow.concat_tables([table.slice(0, row), table.slice(row + 1)]).combine_chunks()))


def rows_exchanged(folder: Path, draw: random.Random) -> None:
    """Exchange two examples."""
    file, table = evidence(folder)
    order = list(range(len(table)))
    a, b = draw.sample(order, 2)
    order[a], order[b] = order[b], order[a]
    file.write_bytes(arrow_bytes(table.take(order)))


def a_pixel(folder: Path, draw: random.Random) -> None:
    """Change a pixel of a witness, or of the example it is about, beyond the ball."""
    file = folder / "witnesses-00000.safetensors"
    tensors = load_file(file)
    name = draw.choice(["x", "x_adv"])
    flat = tensors[name].flatten()
    at = draw.randrange(len(flat))
    flat[at] = 1 - flat[at] if abs(1 - 2 * flat[at]) > 0.3 else flat[at] + 0.4
    save_file({**tensors, name: flat.view(tensors[name].shape)}, file)


def a_certificate(folder: Path, draw: random.Random) -> None:
    """Change a digit in the content of a certificate."""
    file = draw.choice(sorted((folder / "certificates").glob("certificate-*")))
    content = bytearray(gzip.decompress(file.read_bytes()))
    digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()]
    at = draw.choice(digits)
    content[at] = ord(str((int(chr(content[at])) + draw.randrange(1, 10)) % 10))
    file.write_bytes(gzip.compress(bytes(content), mtime=0))


def the_chain(folder: Path, draw: random.Random) -> None:
    """Change a number of the chain."""
    file = folder / "chain.json"
    document = json.loads(file.read_text())
    place = draw.choice(sorted(document["places"]))
    if draw.random() < 0.5:
        document["places"][place]["value"] += draw.choice([-1, 1]) * 0.05
    else:
        document["places"][place]["interval"][draw.choice(["low", "high"])] += 0.05
    file.write_text(json.dumps(document))


def a_file_removed(folder: Path, draw: random.Random) -> None:
    """Remove a file that a claim rests on."""
    files = [
        file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix != ".png" and file.name != NAME
    ]
    draw.choice(files).unlink()


CHANGES: dict[str, Change] = {
    "a margin": a_margin,
    "another number": a_number,
    "a flag": a_flag,
    "a verdict": a_verdict,
    "a row removed": a_row_removed,
    "two rows exchanged": rows_exchanged,
    "a pixel": a_pixel,
    "a certificate": a_certificate,
    "the chain": the_chain,
    "a file removed": a_file_removed,
}


def case() -> tuple[eb.Classifier, tuple[torch.Tensor, torch.Tensor]]:
    """Return a small network and points, of which every sixth is labelled wrongly."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(16, 24), torch.nn.ReLU(), torch.nn.Linear(24, 4))
    x = torch.rand(18, 16)
    y = network(x).argmax(1)
    y[::6] = (y[::6] + 1) % 4
    return eb.Classifier(network), (x, y)


def found(folder: Path, *arguments: Any, **options: Any) -> bool:
    """Return whether a verification finds something that does not hold, or no run at all."""
    try:
        return not eb.verify_run(folder, *arguments, **options).holds
    except eb.InputError:
        return True


def main() -> None:
    """Make the changes asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", default="0:1000", help="FIRST:LAST")
    first, last = map(int, parser.parse_args().changes.split(":"))
    made, by_hash, by_content = Counter(), Counter(), Counter()
    classifier, data = case()
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        ball = eb.Ball("linf", "0.02")
        audit = eb.audit(classifier, data, ball, attack="pgd,steps=5", diagnosis=False, limit=False, folder=run)
        for number in range(first, last):
            kind = list(CHANGES)[number % len(CHANGES)]
            copied = Path(shutil.copytree(run, Path(place) / "copy"))
            CHANGES[kind](copied, random.Random(number))
            made[kind] += 1
            stale = any(
                not (copied / name).exists() or hash_of(copied / name) != known
                for name, known in json.loads((copied / NAME).read_text())["files"].items()
            )
            write_manifest(copied)
            by_hash[kind] += stale and hash_of(copied / NAME) != audit.manifest
            shown = found(copied, classifier, data)
            by_content[kind] += shown
            if not shown:
                print(f"# {number} {kind}: not shown by the contents", flush=True)
            shutil.rmtree(copied)
    print("| change | made | found by the hash | found by the contents |\n| --- | ---: | ---: | ---: |")
    for kind in made:
        print(f"| {kind} | {made[kind]} | {by_hash[kind]} | {by_content[kind]} |")


if __name__ == "__main__":
    main()
