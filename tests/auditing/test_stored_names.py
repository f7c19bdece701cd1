"""Names that are in files or decide draws: a class, a field or a file may be renamed, these never."""

import gzip
import json
import shutil
import sys
from pathlib import Path

import pytest

import epsball as eb
from auditing import old_run
from epsball.attacks import ATTACKS
from epsball.auditing import fingerprint
from epsball.auditing.evidence import VERDICTS
from epsball.auditing.fingerprint import identity
from epsball.auditing.links import AttackLink, CertificateLink, LimitLink, NaturalLink
from epsball.auditing.links.taken import BASELINE, OTHER_BALLS, TakenLink
from epsball.certificates import METHODS

RUN = Path(__file__).parent / "run_of_0_1_0"
BALL = eb.Ball("linf", "1/12")

# By registered name: the name in ledgers, evidence and keys; the class and the options in run identities.
STORED_ATTACKS = {
    "pgd": ("pgd-40", "gradient.pgd.PGD", "loss restarts start step_size steps targets"),
    "fgsm": ("fgsm", "gradient.pgd.FGSM", "loss"),
    "fgsm-rs": ("fgsm-rs", "gradient.pgd.RandomisedFGSM", "loss restarts"),
    "mi-fgsm": ("mi-fgsm-10", "gradient.momentum.MomentumPGD", "decay loss restarts start step_size steps"),
    "apgd": ("apgd-ce", "gradient.apgd.APGD", "loss restarts steps"),
    "apgd-t": ("apgd-t", "gradient.apgd.TargetedAPGD", "loss restarts steps targets"),
    "carlini-wagner": (
        "carlini-wagner",
        "minimum_norm.carlini_wagner.CarliniWagner",
        "confidence constant searches step_size steps",
    ),
    "carlini-wagner-linf": (
        "carlini-wagner-linf",
        "minimum_norm.carlini_wagner_linf.CarliniWagnerLinf",
        "confidence constant largest least shrink step_size steps threshold",
    ),
    "ddn": ("ddn", "minimum_norm.ddn.DDN", "gamma length steps"),
    "fmn": ("fmn", "minimum_norm.fmn.FMN", "gamma restarts step_size steps"),
    "deepfool": ("deepfool", "minimum_norm.deepfool.DeepFool", "classes overshoot steps"),
    "fab": ("fab", "minimum_norm.fab.FAB", "alpha_max beta eta restarts steps"),
    "fab-t": ("fab-t", "minimum_norm.fab.TargetedFAB", "restarts steps targets"),
    "pdpgd": ("pdpgd", "minimum_norm.pdpgd.PDPGD", "dual_step_size ratio step_size steps"),
    "minimum-norm": ("minimum-norm", "minimum_norm.ensemble.MinimumNorm", "steps"),
    "square": ("square", "black_box.square.Square", "polish queries restarts schedule share"),
    "autoattack": ("autoattack", "autoattack.AutoAttack", ""),
    "autoattack-rand": ("autoattack-rand", "autoattack.RandomisedAutoAttack", ""),
    "ensemble": ("ensemble", "ensemble.Ensemble", "most patience queries"),
    "adaptive": ("adaptive", "adaptive.adaptive.Adaptive", "most patience queries transfer"),
    "second-order": ("second-order", "gradient.second_order.SecondOrder", "krylov loss restarts samples steps"),
    "spsa": ("spsa", "black_box.spsa.SPSA", "delta learning_rate loss pairs steps"),
    "nes": ("nes", "black_box.nes.NES", "loss pairs sigma step_size steps"),
    "hop-skip-jump": (
        "hop-skip-jump",
        "black_box.hop_skip_jump.HopSkipJump",
        "first_queries iterations most_queries tries",
    ),
}

OBJECTS = {
    "Collision": "black_box.collision.Collision",
    "ExpectationOverTransformation": "expectation.ExpectationOverTransformation",
    "MultiStart": "shots.Shots",
    "OtherLibraryAttack": "adaptive.adapters.Peer",
    "Transfer": "transfer.Transfer",
}

COMPONENTS = {
    "ensemble": ["apgd-ce", "apgd-t", "square", "shots"],
    "autoattack": ["apgd-ce", "apgd-t", "fab-t", "square"],
    "autoattack-rand": ["apgd-ce", "apgd-dlr"],
    "minimum-norm": ["fab from x", "fmn", "fab from the nearest"],
}

COLUMNS = {
    NaturalLink: {
        "natural.prediction": "int64",
        "natural.margin": "double",
        "natural.correct": "bool",
        "natural.failed": "bool",
    },
    CertificateLink: {
        "certificate.certified": "bool",
        "certificate.stable": "bool",
        "certificate.whole": "bool",
        "certificate.criterion": "bool",
        "certificate.margin": "double",
        "certificate.method": "string",
        "certificate.semantics": "string",
        "certificate.replayable": "bool",
        "certificate.passes": "int64",
        "certificate.interval.margin": "double",
        "certificate.lipschitz.margin": "double",
        "certificate.crown-ibp.margin": "double",
        "certificate.forward.margin": "double",
        "certificate.crown.margin": "double",
        "certificate.optimised.margin": "double",
    },
    AttackLink: {
        "attack.broken": "bool",
        "attack.whole": "bool",
        "attack.margin": "double",
        "attack.distance": "double",
        "attack.by": "string",
        "attack.forwards": "int64",
        "attack.backwards": "int64",
    },
}

LEDGER = ["index", "attack", "restart", "margin", "forwards", "backwards", "zero_gradients", "bad_gradients"]

CERTIFICATE_KEYS = {
    "format",
    "version",
    "model",
    "semantics",
    "assumptions",
    "norm",
    "radius",
    "x",
    "box",
    "predicted",
    "claims",
    "refined",
    "bounds",
    "slopes",
    "own_slopes",
    "final_slopes",
}


def audit_of_0_1_0(folder):
    """Run the audit of 0.1.0 in a folder, six examples per shard."""
    eb.audit  # noqa: B018 (imports the module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["epsball.auditing.audit"], "SHARD", 6)
        # A run resumes under the version that began it; here only what else is in its identity is compared.
        patch.setattr(fingerprint, "__version__", "0.1.0")
        return eb.audit(old_run.classifier(), old_run.data(), BALL, folder=folder, **old_run.OPTIONS)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Return the audit of 0.1.0, run from its start."""
    return audit_of_0_1_0(tmp_path_factory.mktemp("full"))


def test_attacks_are_stored_under_these_names():
    found = {name: (factory().name, identity(factory())) for name, factory in ATTACKS.items()}
    stored = {name: (own, form.pop("type"), " ".join(sorted(form))) for name, (own, form) in found.items()}
    for name, (own, kind, options) in STORED_ATTACKS.items():
        assert stored[name] == (own, f"epsball.attacks.{kind}", options)


def test_attacks_that_no_text_names_are_stored_under_these_classes():
    stored = {kind.__name__: name for kind, name in fingerprint.STORED_TYPES.items()}
    assert {name: stored[name] for name in OBJECTS} == OBJECTS


def test_components_are_counted_and_credited_under_these_names():
    for name, stages in COMPONENTS.items():
        assert [stage.name for stage in ATTACKS[name]().stages(BALL)] == stages


def test_methods_and_verdicts_have_these_names():
    assert {"interval", "lipschitz", "crown-ibp", "forward", "crown", "optimised"} <= set(METHODS)
    assert VERDICTS == ("misclassified", "broken", "certified", "undecided", "invalid")


def test_links_have_these_columns():
    for link, columns in COLUMNS.items():
        assert columns.items() <= dict(link.schema).items()
    assert [link.name for link in COLUMNS] == ["natural", "certificate", "attack"]
    assert (LimitLink.name, LimitLink.schema, LimitLink.run_schema) == ("limit", {}, {"limit.hard": "string"})


def test_what_is_taken_over_from_other_runs_has_these_names():
    stored = identity(TakenLink(runs=("baseline sha256:1",)))
    assert stored.pop("type") == "epsball.auditing.links.taken.TakenLink"
    assert set(stored) == {"runs", "near", "step_sizes"}
    assert (BASELINE, OTHER_BALLS) == ("baseline", "other balls")
    assert set(TakenLink.schema) == {
        f"taken.{name}"
        for name in (
            *("broken", "margin", "distance", "by", "witness", "natural"),
            *("stable", "bound", "method", "semantics", "replayable", "certificate"),
        )
    }


def test_a_run_folder_has_these_files_and_its_files_these_keys(full):
    folder = full.folder
    shard = (
        "evidence-{}.arrow",
        "ledger-{}.arrow",
        "witnesses-{}.safetensors",
        "points-{}.safetensors",
        "timing-{}.arrow",
    )
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        *(name.format(number) for number in ("00000", "00001") for name in shard),
        *("run.json", "certificates", "chain.json", "limit.arrow", "witnesses.png", "manifest.json"),
        *("about.json", "shown.safetensors", "limit.json"),
    }
    run = json.loads((folder / "run.json").read_text())
    assert set(run) == {"identity", "probe", "schema", "about"}
    assert run["identity"] == json.loads((RUN / "run.json").read_text())["identity"]
    names = sorted(path.name for path in (folder / "certificates").glob("*.gz"))
    assert names[0] == "certificate-000001.json.gz"
    assert set(json.loads(gzip.decompress((folder / "certificates" / names[0]).read_bytes()))) == CERTIFICATE_KEYS
    columns = [name for link in COLUMNS for name in link.schema if name != "natural.prediction"]
    first = ["index", "label", "prediction", "verdict", "invalid.reason"]
    assert set(full.evidence.column_names) == {*first, *columns, "attack.gradients", "limit.hard"}
    assert full.ledger.column_names == LEDGER
    rows = {"guards", "natural", "pgd-3", "pgd-10", "verification", "padding"}
    assert set(full.ledger["attack"].to_pylist()) == rows


def test_a_run_of_0_1_0_that_was_killed_resumes(tmp_path, full):
    shutil.copytree(RUN, tmp_path / "old")
    resumed = audit_of_0_1_0(tmp_path / "old")
    assert resumed.evidence.schema == full.evidence.schema
    for name in resumed.evidence.column_names:
        old, new = (audit.evidence[name].to_pylist() for audit in (resumed, full))
        assert old == (pytest.approx(new, nan_ok=True) if resumed.evidence.schema.field(name).type == "double" else new)
    assert set(resumed.chain.verdicts) == {"misclassified", "broken", "certified", "undecided"}
    assert resumed.chain.verdicts == full.chain.verdicts
    assert resumed.ledger.to_pydict()["attack"] == full.ledger.to_pydict()["attack"]


@pytest.mark.parametrize("method", ["crown", "wong-kolter"])
def test_a_method_that_0_1_0_did_not_have_adds_its_column_to_the_runs_that_name_it(method):
    audit = eb.audit(old_run.classifier(), old_run.data(), BALL, certificates=method, limit=False, **old_run.OPTIONS)
    every = {
        name for name in audit.evidence.column_names if name.startswith("certificate.") and name.endswith(".margin")
    }
    stored = {name for name in COLUMNS[CertificateLink] if name.endswith(".margin")}
    assert every == stored | {f"certificate.{method}.margin"}
    margins = (audit.evidence[f"certificate.{name}margin"].to_pylist() for name in ("", f"{method}."))
    assert next(margins) == next(margins)
