"""Forged runs: whatever single thing is changed and the manifest written anew, the contents show it."""

import json

import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file

import epsball as eb
from auditing.forging import changed, failed
from epsball.auditing.manifest import write_manifest
from epsball.results import arrow_bytes

pytest.importorskip("flint")


def swapped(values, table):
    """Turn the first broken example's verdict into 'undecided'."""
    at = values.index("broken")
    return [*values[:at], "undecided", *values[at + 1 :]]


FORGED = {
    "a verdict": ("verdict", swapped, {"columns"}),
    "a broken flag": ("attack.broken", lambda v, t: [False] * len(v), {"columns", "chain", "balls"}),
    "a certified flag": ("certificate.certified", lambda v, t: [True] * len(v), {"columns", "chain"}),
    "a margin of a certificate": ("certificate.margin", lambda v, t: [m + 0.01 for m in v], {"certificates"}),
    "a natural margin": ("natural.margin", lambda v, t: [-m for m in v], {"columns"}),
    "a prediction": ("prediction", lambda v, t: [(p + 1) % 4 for p in v], {"natural pass", "certificates"}),
    "an attack's margin": ("attack.margin", lambda v, t: [abs(m) for m in v], {"columns"}),
    "a natural margin by a tenth": ("natural.margin", lambda v, t: [1.1 * m for m in v], {"ledger", "natural pass"}),
    "an attack's margin by a tenth": ("attack.margin", lambda v, t: [1.1 * m for m in v], {"ledger", "witnesses"}),
    "an attack's passes": ("attack.forwards", lambda v, t: [n + 999 for n in v], {"ledger"}),
    "a bound": ("certificate.interval.margin", lambda v, t: [m and m + 9.0 for m in v], {"columns"}),
    "a stable flag": ("certificate.stable", lambda v, t: [not flag for flag in v], {"columns"}),
    "a method": ("certificate.method", lambda v, t: [m and "lipschitz" for m in v], {"columns"}),
    "a failure": ("natural.failed", lambda v, t: [True] * len(v), {"columns", "chain"}),
    "a semantics": ("certificate.semantics", lambda v, t: ["real"] * len(v), {"columns"}),
    "positions": ("index", lambda v, t: v[::-1], {"natural pass", "balls"}),
    "labels": ("label", lambda v, t: [(p + 1) % 4 for p in v], {"natural pass"}),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_evidence_with_a_new_manifest_is_found(case, copied):
    folder, classifier, data, audit = copied
    column, change, expected = FORGED[case]
    changed(folder, column, change)
    found = eb.verify_run(folder, classifier, data)
    assert expected <= failed(found)
    assert "manifest" in failed(eb.verify_run(folder, manifest=audit.manifest))


@pytest.mark.parametrize("kind", ["ledger", "witnesses"])
def test_a_file_that_is_missing_is_found_with_a_new_manifest_too(kind, copied):
    folder = copied[0]
    next(folder.glob(f"{kind}-*")).unlink()
    write_manifest(folder)
    assert failed(eb.verify_run(folder)) == {{"witnesses": "balls"}.get(kind, kind)}


def test_a_forged_ledger_is_found(copied):
    folder = copied[0]
    file = folder / "ledger-00000.arrow"
    table = pa.ipc.open_file(file.read_bytes()).read_all()
    natural = [name == "natural" for name in table["attack"].to_pylist()]
    margins = [2 * m if own else m for m, own in zip(table["margin"].to_pylist(), natural, strict=True)]
    at = table.column_names.index("margin")
    file.write_bytes(arrow_bytes(table.set_column(at, "margin", pa.array(margins, pa.float64()))))
    write_manifest(folder)
    assert failed(eb.verify_run(folder)) == {"ledger"}


@pytest.mark.parametrize(
    ("place", "change", "check"),
    [
        ("places", lambda entry: entry["1 - optimal adversarial risk"].update(value=0.5), "optimal risk"),
        ("cross-entropy", lambda entry: entry.update(optimal=9.0), "optimal risk"),
        ("verdicts", lambda entry: entry.update(broken=0), "chain"),
    ],
)
def test_the_rest_of_a_forged_chain_is_found(copied, place, change, check):
    folder, classifier, data, _ = copied
    document = json.loads((folder / "chain.json").read_text())
    document[place] = document[place] or {}
    change(document[place])
    (folder / "chain.json").write_text(json.dumps(document))
    write_manifest(folder)
    assert failed(eb.verify_run(folder, classifier, data)) == {check}


def rewritten(folder, change):
    file = folder / "witnesses-00000.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    write_manifest(folder)


def test_forged_witnesses_are_found(copied):
    folder, classifier, data, _ = copied
    original = load_file(folder / "witnesses-00000.safetensors")
    rewritten(folder, lambda t: t.update(x_adv=t["x"].clone()))
    found = failed(eb.verify_run(folder, classifier, data))
    assert found == {"witnesses", "balls"}  # classified rightly, and nearer than the evidence says
    rewritten(folder, lambda t: t.update(x_adv=original["x_adv"] * 0.5))
    assert "balls" in failed(eb.verify_run(folder))
    rewritten(folder, lambda t: t.update({name: tensor[1:] for name, tensor in original.items()}))
    assert "balls" in failed(eb.verify_run(folder))
    rewritten(folder, lambda t: t.update(original | {"x": original["x"] + 1e-4, "x_adv": original["x_adv"]}))
    assert "witnesses" in failed(eb.verify_run(folder, classifier, data))


def test_a_forged_chain_is_found(copied):
    folder = copied[0]
    document = json.loads((folder / "chain.json").read_text())
    document["places"]["accuracy under attack"]["value"] -= 0.1
    (folder / "chain.json").write_text(json.dumps(document))
    write_manifest(folder)
    assert failed(eb.verify_run(folder)) == {"chain"}
