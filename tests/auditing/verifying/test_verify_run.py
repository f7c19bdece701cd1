"""Verifying runs: what an audit wrote holds; whatever single thing is changed in its folder is found."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

import epsball as eb
from auditing.cases import case
from epsball.auditing.manifest import write_manifest
from epsball.certificates import interval
from epsball.cli import main
from epsball.errors import InputError
from epsball.results import arrow_bytes

pytest.importorskip("flint")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run with broken, certified and misclassified examples, and what it was made of."""
    classifier, x, y = case(40)
    folder = tmp_path_factory.mktemp("run") / "audit"
    audit = eb.audit(classifier, (x, y), eb.Ball("linf", 0.02), attack="pgd,steps=5", folder=folder)
    verdicts = audit.chain.verdicts
    assert min(verdicts[name] for name in ("broken", "certified", "misclassified")) > 0
    return folder, classifier, (x, y), audit


@pytest.fixture
def copied(run, tmp_path):
    shutil.copytree(run[0], tmp_path / "copy")
    return tmp_path / "copy", *run[1:]


def failed(verification):
    return {finding.check for finding in verification.findings if finding.holds is False}


def test_what_an_audit_wrote_holds(run):
    folder, classifier, data, audit = run
    found = eb.verify_run(folder, classifier, data, manifest=audit.manifest)
    assert found.holds
    assert found.not_checked == ()
    assert {f.check for f in found.findings} == {
        "manifest", "files", "evidence", "columns", "ledger", "chain", "balls", "model", "data", "natural pass",
        "witnesses", "optimal risk", "certificates",
    }  # fmt: skip
    assert found.exit_code == 0


def test_without_the_model_it_says_what_was_not_checked(run):
    found = eb.verify_run(run[0])
    assert found.holds
    assert found.not_checked == ("model", "data", "natural pass", "witnesses")
    assert "not checked: model, data, natural pass, witnesses" in str(found)


def _beside(path):
    """Return whether a file is no part of the run: figures, times, locks, where it was made."""
    return path.suffix == ".png" or path.name == "about.json" or path.name.startswith(("timing-", "."))


def files(folder):
    """Return the files that the manifest covers."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not _beside(path))


@pytest.mark.parametrize("number", range(12))
def test_a_bit_changed_in_any_file_is_found(copied, number):
    folder = copied[0]
    every = files(folder)
    file = every[number * len(every) // 12]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    try:
        found = eb.verify_run(folder)
    except InputError:
        assert file.name in ("run.json", "manifest.json", "chain.json")
    else:
        assert "files" in failed(found) or file.name == "manifest.json"


def test_a_missing_and_an_added_file_are_found(copied):
    folder = copied[0]
    shutil.copy(folder / "evidence-00000.arrow", folder / "evidence-00001.arrow")
    assert {"files", "evidence"} <= failed(eb.verify_run(folder))
    (folder / "evidence-00001.arrow").unlink()
    next((folder / "certificates").glob("certificate-*")).unlink()
    found = eb.verify_run(folder)
    assert {"files", "certificates"} <= failed(found)
    assert found.exit_code == 6


def changed(folder, column, change):
    """Change one column of the evidence and write the manifest anew, as a forger would."""
    file = folder / "evidence-00000.arrow"
    table = pa.ipc.open_file(file.read_bytes()).read_all()
    values = change(table[column].to_pylist(), table)
    place = table.column_names.index(column)
    file.write_bytes(
        arrow_bytes(table.set_column(place, table.schema.field(column), pa.array(values, table[column].type)))
    )
    write_manifest(folder)


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


@pytest.mark.parametrize(
    ("method", "said"),
    [(None, "can be replayed"), ("sdp", "'sdp' is none of the methods of this run"), ("own", "'own' is not a method")],
)
def test_a_certificate_cannot_be_called_one_that_nobody_can_replay(copied, method, said):
    folder, classifier, data, _ = copied
    changed(folder, "certificate.replayable", lambda v, t: [False] * len(v))
    if method is not None:
        changed(folder, "certificate.method", lambda v, t: [m and method for m in v])
    found = eb.verify_run(folder, classifier, data)
    assert failed(found) == {"certificates without a file"}
    assert said in str(found)
    assert found.exit_code == 6


def test_without_the_model_a_method_that_can_be_replayed_needs_its_file(copied):
    folder = copied[0]
    changed(folder, "certificate.replayable", lambda v, t: [False] * len(v))
    assert "is told with MODEL and DATA" in str(eb.verify_run(folder))
    changed(folder, "certificate.method", lambda v, t: [m and "lipschitz" for m in v])
    assert "certificates without a file" in eb.verify_run(folder).not_checked


def test_a_network_that_the_checker_does_not_know_rests_on_epsball_alone(tmp_path):
    class Squashed(torch.nn.Module):  # its softmax is bounded, and not replayed
        def forward(self, x):
            return 4 * x + x.softmax(1)

    x = torch.eye(4).repeat(4, 1) * 0.8 + 0.1
    data, classifier = (x, x.argmax(1)), eb.Classifier(Squashed())
    ball = eb.Ball("linf", 0.01)
    audit = eb.audit(classifier, data, ball, attack="fgsm", limit=False, diagnosis=False, folder=tmp_path / "r")
    assert audit.chain.verdicts["certified"] == len(x)
    found = eb.verify_run(tmp_path / "r", classifier, data)
    assert failed(found) == set()
    assert found.not_checked == ("certificates without a file",)


def test_certificates_that_were_not_kept_rest_on_epsball_alone(tmp_path):
    classifier, x, y = case(12)
    options = {"attack": "fgsm", "limit": False, "diagnosis": False, "keep_certificates": "none"}
    audit = eb.audit(classifier, (x, y), eb.Ball("linf", 0.001), folder=tmp_path / "r", **options)
    assert audit.chain.verdicts["certified"] > 0
    found = eb.verify_run(tmp_path / "r", classifier, (x, y), manifest=audit.manifest)
    assert failed(found) == set()
    assert found.not_checked == ("certificates without a file",)
    assert "the run kept no certificates" in str(found)


def halved(problem):
    return interval(problem)


@pytest.mark.parametrize("own", ["function", "file"])
def test_a_bound_of_the_users_own_rests_on_epsball_alone(tmp_path, own):
    (tmp_path / "own.py").write_text(
        "from epsball.certificates import interval\n\n\ndef halved(problem):\n    return interval(problem)\n"
    )
    classifier, x, y = case(8)
    method = halved if own == "function" else f"{tmp_path / 'own.py'}:halved"
    options = {"attack": "fgsm", "certificates": method, "limit": False, "diagnosis": False}
    audit = eb.audit(classifier, (x, y), eb.Ball("linf", 0.001), **options, folder=tmp_path / "r")
    assert audit.chain.verdicts["certified"] > 0
    found = eb.verify_run(tmp_path / "r", classifier, (x, y))
    assert failed(found) == set()
    assert found.not_checked == ("certificates without a file",)
    changed(tmp_path / "r", "certificate.method", lambda v, t: [m and "crown" for m in v])
    assert failed(eb.verify_run(tmp_path / "r", classifier, (x, y))) == {"certificates without a file"}


def test_an_example_both_broken_and_certified_is_a_contradiction(copied):
    folder, classifier, data, _ = copied
    changed(
        folder,
        "certificate.certified",
        lambda v, t: [a or b for a, b in zip(v, t["attack.broken"].to_pylist(), strict=True)],
    )
    found = eb.verify_run(folder, classifier, data)
    assert found.exit_code == 8


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


@pytest.mark.parametrize(("factor", "expected"), [(1 + 1e-6, set()), (1.1, {"natural pass"})])
def test_on_another_build_margins_may_differ_by_rounding_and_no_more(copied, factor, expected):
    folder, classifier, data, _ = copied
    record = json.loads((folder / "run.json").read_text())
    record["about"]["torch"] = "0.0"
    (folder / "run.json").write_text(json.dumps(record))
    changed(folder, "natural.margin", lambda v, t: [factor * m for m in v])
    found = failed(eb.verify_run(folder, classifier, data))
    assert "ledger" in found  # what was written down twice needs no build
    assert found - {"columns", "ledger", "optimal risk"} == expected  # nor does what follows from the margins


def test_a_model_that_draws_random_numbers_is_judged_by_the_same_draws(tmp_path):
    class Noisy(torch.nn.Module):
        def forward(self, x):
            return 4 * x + 0.1 * torch.randn_like(x)

    x = torch.rand(40, 4, generator=torch.Generator().manual_seed(0))
    data, classifier = (x, x.argmax(1)), eb.Classifier(Noisy(), stochastic=True)
    options = {"attack": "fgsm", "certificates": "none", "limit": False, "diagnosis": False, "shard_size": 15}
    eb.audit(classifier, data, eb.Ball("linf", 0.01), folder=tmp_path / "r", **options)
    assert "natural pass" not in failed(eb.verify_run(tmp_path / "r", classifier, data))


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


def test_another_model_or_other_data_are_named(run):
    folder, classifier, (x, y), _ = run
    other = eb.Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4)))
    found = eb.verify_run(folder, other, (x, y))
    assert failed(found) == {"model"}
    assert found.not_checked == ("natural pass", "witnesses")
    assert failed(eb.verify_run(folder, classifier, (x.flip(0), y))) == {"data"}


@pytest.mark.slow
def test_a_run_that_the_diagnosis_lowered_holds(tmp_path):
    from auditing.cases import NEAR, detached

    classifier, x, y = detached()
    audit = eb.audit(
        classifier, (x, y), NEAR, attack="fgsm", diagnosis=True, certificates="none", folder=tmp_path / "r"
    )
    assert audit.chain.verdicts["broken"] > 0
    found = eb.verify_run(tmp_path / "r", classifier, (x, y), manifest=audit.manifest)
    assert failed(found) == set()


def test_a_run_that_is_not_finished_is_refused():
    with pytest.raises(InputError, match="is not finished"):
        eb.verify_run(Path(__file__).parents[1] / "run_of_0_1_0")


def test_a_run_older_than_manifests_is_read(copied):
    folder, classifier, data, _ = copied
    (folder / "manifest.json").unlink()
    assert failed(eb.verify_run(folder)) == {"files"}  # its record says that it had one
    record = json.loads((folder / "run.json").read_text())
    del record["schema"]
    (folder / "run.json").write_text(json.dumps(record))
    found = eb.verify_run(folder, classifier, data)
    assert found.holds
    assert found.not_checked == ("files",)


def test_what_is_no_run_and_half_of_what_is_needed_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="does not hold a run"):
        eb.verify_run(tmp_path)
    with pytest.raises(InputError, match="give both or neither"):
        eb.verify_run(run[0], run[1])


def test_a_run_of_a_later_schema_is_refused(copied):
    folder = copied[0]
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema": 99}))
    with pytest.raises(InputError, match="schema 99; this version knows"):
        eb.verify_run(folder)


def test_the_command_line(copied, capsys, tmp_path):
    folder = copied[0]
    assert main(["verify-run", str(folder)]) == 0
    assert "all that was checked holds" in capsys.readouterr().out
    (folder / "ledger-00000.arrow").write_bytes(b"")
    assert main(["verify-run", str(folder)]) == 6
    assert main(["verify-run", str(tmp_path / "none")]) == 2


def test_the_command_line_prints_the_manifest_last_and_takes_it(tmp_path, capsys):
    folder = tmp_path / "r"
    audit = ["audit", "mlp,hidden=8", "digits,first=20", "--ball", "linf:0.02", "--attack", "fgsm", "--no-limit"]
    assert main([*audit, "--out", str(folder)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("manifest: sha256:")
    verify = [
        "verify-run",
        str(folder),
        "mlp,hidden=8",
        "digits,first=20",
        "--manifest",
        last.removeprefix("manifest: "),
    ]
    assert main([*verify, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["holds"] is True
