import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import epsball as eb
from epsball.cli import main
from epsball.cli.minimum_norm import distinct

pytestmark = pytest.mark.usefixtures("short_audits")


def test_train_audit_attack_share_one_way_to_say_things(card, tmp_path, capsys):
    assert main(["audit", str(card), "digits,first=40", "--ball", "linf:0.1", "--out", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert "accuracy under attack" in text
    assert "certified accuracy" in text
    assert "not measured" not in text
    assert main(["attack", str(card), "digits,first=40", "--ball", "linf:0.1", "--method", "pgd,steps=40"]) == 0
    assert "accuracy under attack" in capsys.readouterr().out


def test_json_is_one_document_and_agrees_with_the_text(card, capsys):
    assert main(["audit", str(card), "digits,first=30", "--ball", "l2:0.5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["total"] == 30
    assert document["not measured"] == []
    assert document["places"]["certified accuracy"]["value"] <= document["robust accuracy"]["high"]
    low, high = document["robust accuracy"]["low"], document["robust accuracy"]["high"]
    assert low <= high == pytest.approx(document["places"]["accuracy under attack"]["value"])


def test_pgd_training_by_command(tmp_path, capsys):
    arguments = [
        "train",
        "pgd,steps=2,step_size=radius,start=none",
        "mlp,hidden=16",
        "digits,first=300",
        "--ball",
        "linf:0.05",
        "--out",
        str(tmp_path),
    ]
    assert (
        main(
            [
                *arguments,
                "--epochs",
                "1",
                "--json",
            ]
        )
        == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["card"]["architecture"] == "mlp,hidden=16"
    objective = document["card"]["training"]["objective"]
    assert (objective["name"], objective["steps"], objective["start"]) == ("pgd", 2, "none")


def test_attack_writes_its_points(card, tmp_path, capsys):
    out = tmp_path / "points.safetensors"
    assert main(["attack", str(card), "digits,first=30", "--ball", "linf:0.2", "--out", str(out)]) == 0
    points = load_file(out)
    assert points["x_adv"].shape == (30, 1, 8, 8)
    assert points["index"].tolist() == eb.data.load("digits,first=30").positions.tolist()
    capsys.readouterr()


def test_attack_writes_the_nearest_points_too(card, tmp_path, capsys):
    out = tmp_path / "points.safetensors"
    arguments = ["attack", str(card), "digits,first=20", "--ball", "l2:0.1", "--out", str(out)]
    assert main([*arguments, "--method", "ddn,steps=20", "--stop", "never", "--json"]) == 0
    points = load_file(out)
    x, _ = eb.data.load("digits,first=20")[:]
    found = ~points["distance"].isnan()
    assert found.sum() > points["broken"].sum()
    expected = eb.Ball("l2", 0.1).distance(points["nearest"], x)
    assert points["distance"][found].tolist() == pytest.approx(expected[found].tolist())
    capsys.readouterr()


BAD = {
    "unknown data": (["audit", "mlp", "digit", "--ball", "linf:0.1"], 2, "Did you mean 'digits'"),
    "missing folder": (["audit", "mlp", "idx:nowhere", "--ball", "linf:0.1"], 2, "nowhere"),
    "unknown model": (["audit", "mpl", "digits", "--ball", "linf:0.1"], 2, "Did you mean 'mlp'"),
    "unknown norm": (["audit", "mlp", "digits", "--ball", "lin:0.1"], 2, "Did you mean 'linf'"),
    "radius in 8 bits": (["audit", "mlp", "digits", "--ball", "linf:8"], 2, "8/255"),
    "no ball": (["audit", "mlp", "digits"], 2, "--ball"),
    "unknown option": (["audit", "mlp", "digits", "--ball", "linf:0.1", "--efort", "quick"], 2, "--effort"),
    "unknown command": (["adit", "mlp", "digits"], 2, "adit"),
    "unknown attack": (
        ["attack", "mlp", "digits", "--ball", "linf:0.1", "--method", "apdg"],
        2,
        "unknown attack",
    ),
    "unknown device": (["audit", "mlp", "digits", "--ball", "linf:0.1", "--device", "tpu9"], 2, "device"),
    "objective without ball": (["train", "pgd", "mlp", "digits", "--out", "unused"], 2, "--ball linf"),
    "option of another objective": (
        ["train", "standard,steps=3", "mlp", "digits", "--out", "unused"],
        2,
        "takes no",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_ends_with_its_exit_code_and_a_message(kind, capsys):
    arguments, code, words = BAD[kind]
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_help_and_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"
    assert main(["audit", "--help"]) == 0
    assert "--ball" in capsys.readouterr().out


def test_importing_the_package_imports_no_heavy_module():
    heavy = ("torch", "numpy", "matplotlib", "pyarrow")
    code = f"import sys, epsball; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported():
    import epsball

    for name in epsball.__all__:
        assert getattr(epsball, name) is not None


def test_the_effort_has_two_spellings(capsys, monkeypatch):
    asked = []

    def noting(*_, **options):
        asked.append(options["effort"])
        raise KeyboardInterrupt

    monkeypatch.setattr("epsball.auditing.audit", noting)
    arguments = ["audit", "mlp", "digits,first=20", "--ball", "linf:0.1"]
    for flags in ([], ["--effort", "standard"], ["--budget", "full"]):
        assert main([*arguments, *flags]) == 130
    assert asked == ["quick", "standard", "full"]
    assert main([*arguments, "--effort", "full", "--budget", "quick"]) == 2
    assert "are one option" in capsys.readouterr().err
    assert main([*arguments, "--effort", "quik"]) == 2
    assert "Did you mean 'quick'" in capsys.readouterr().err


def test_what_a_model_prints_does_not_spoil_the_json(tmp_path, capsys):
    net = tmp_path / "net.py"
    net.write_text(
        "import torch\n"
        "class Loud(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
        "    def forward(self, x):\n"
        "        print('forward', len(x))\n"
        "        return self.net(x)\n"
        "def build():\n"
        "    return Loud()\n"
    )
    arguments = ["audit", f"{net}:build", "digits,first=20", "--ball", "linf:0.1", "--attack", "fgsm", "--json"]
    assert main([*arguments, "--certificates", "none"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["total"] == 20
    assert "forward 16" in captured.err


def test_ctrl_c_ends_with_130_and_says_what_is_kept(card, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("epsball.auditing.audit", interrupted)
    assert main(["audit", str(card), "digits,first=20", "--ball", "linf:0.1"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_finished_training_is_not_overwritten(card, capsys):
    arguments = ["train", "standard", "mlp", "digits", "--out", str(card.parent), "--epochs", "1"]
    assert main(arguments) == 2
    assert "holds another training" in capsys.readouterr().err


def test_limit_prints_the_curve_and_writes_it(tmp_path, capsys):
    out = str(tmp_path)
    assert main(["limit", "digits,first=200", "--norm", "linf", "--radii", "0:0.2:0.1", "--out", out, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["radius"] for row in document["curve"]] == ["0", "1/10", "1/5"]
    risks = [row["risk"]["value"] for row in document["curve"]]
    assert risks == sorted(risks)
    assert {file.name for file in tmp_path.iterdir()} == {"limit.json", "limit.arrow", "limit.png"}
    assert main(["limit", "digits", "--radii", "0:1"]) == 2
    assert "LOW:HIGH:STEP" in capsys.readouterr().err


def test_limit_draws_the_nearest_pairs(tmp_path, capsys):
    picture = tmp_path / "pairs.png"
    arguments = ["limit", "digits,first=200", "--norm", "linf", "--radii", "0.35"]
    assert main([*arguments, "--pairs", str(picture)]) == 0
    assert f"pairs: {picture}" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main([*arguments, "--pairs", str(tmp_path / "pairs.txt")]) == 2
    assert "a figure is a .png, .svg or .pdf file" in capsys.readouterr().err
    assert main(["limit", "digits,first=200", "--radii", "0.001", "--pairs", str(picture)]) == 2
    assert "no two examples conflict at radius 0.001" in capsys.readouterr().err


def test_limit_keeps_to_the_memory_and_says_what_an_interruption_costs(monkeypatch, capsys):
    assert main(["limit", "digits,first=100", "--radii", "0.5", "--max-memory", "0.001"]) == 2
    assert "more than the limit of 1 MiB" in capsys.readouterr().err
    assert main(["limit", "digits,first=100", "--radii", "0:1:1e-5"]) == 2
    assert "100001 values, more than 10000" in capsys.readouterr().err

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("epsball.limits.optimal_risk", interrupted)
    assert main(["limit", "digits,first=100", "--radii", "0.5"]) == 130
    assert "interrupted; a limit does not go on from there" in capsys.readouterr().err


def test_similarity_of_a_model_with_itself_is_one(card, tmp_path, capsys):
    assert main(["similarity", str(card), str(card), "digits,first=100", "--out", str(tmp_path), "--json"]) == 0
    matrix = json.loads(capsys.readouterr().out)["matrix"]
    assert all(matrix[i][i] == pytest.approx(1.0) for i in range(len(matrix)))
    assert (tmp_path / "similarity.png").exists()
    arguments = ["similarity", str(card), str(card), "digits,first=100", "--adversarial", "linf:0.1", "--json"]
    assert main(arguments) == 0
    attacked = json.loads(capsys.readouterr().out)["matrix"]
    assert attacked[-1][-1] < 0.99


def test_similarity_of_several_models_and_on_other_data(card, tmp_path, capsys):
    models = ["similarity", str(card), "mlp,hidden=32", "digits,first=60"]
    assert main([*models, "--also", "mlp,hidden=16", "--layers", "*", "--out", str(tmp_path), "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    assert [pair["networks"] for pair in pairs[:2]] == [[str(card), str(card)], [str(card), "mlp,hidden=32"]]
    assert len(pairs) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"similarity.arrow", "similarity.png"}
    assert main([*models, "--elsewhere", "digits,split=train,first=60"]) == 0
    assert "shift: on digits,split=train,first=60" in capsys.readouterr().out
    assert main([*models, "--also", "mlp,hidden=32"]) == 2
    assert "a model is named twice" in capsys.readouterr().err
    assert main([*models, "--also", "mlp,hidden=16", "--adversarial", "linf:0.1"]) == 2
    assert "leave out --elsewhere and --adversarial" in capsys.readouterr().err


def test_a_reference_that_cannot_be_compared_is_refused_before_the_audit(card, tmp_path, capsys):
    arguments = ["audit", str(card), "digits,first=3", "--ball", "linf:0.1", "--reference", str(card)]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 2
    assert "the data have 3 rows" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_audit_shows_the_similarity_with_a_reference(card, capsys):
    arguments = ["audit", str(card), "digits,first=20", "--ball", "linf:0.1", "--reference", str(card)]
    assert main([*arguments, "--attack", "fgsm", "--certificates", "none"]) == 0
    assert f"with {card}" in capsys.readouterr().out


def test_a_curve_that_is_another_is_drawn_once():
    one, two = (eb.attacks.AccuracyCurve.of(torch.tensor(d, dtype=torch.float64)) for d in ([0.1, 0.2], [0.3, 0.4]))
    curves = {"ddn": one, "fmn": two, "the nearest of all": one}
    assert list(distinct(curves)) == ["fmn", "ddn = the nearest of all"]


def test_the_figure_of_minimum_norms_by_command(card, tmp_path, capsys, monkeypatch):
    arguments = ["figure", "minimum-norm", str(card), "digits,first=20", "--ball", "l2:1", "--method", "ddn,steps=20"]
    out = tmp_path / "made" / "curve.svg"
    assert main([*arguments, "--method", "deepfool", "--out", str(out)]) == 0
    assert "the nearest of all" in capsys.readouterr().out
    assert out.stat().st_size > 1000
    assert main([*arguments, "--method", "pgd", "--out", str(out)]) == 2
    assert "a curve needs a minimum-norm attack" in capsys.readouterr().err
    assert main([*arguments, "--out", str(tmp_path / "curve.txt")]) == 2
    assert "a figure is a .png, .svg or .pdf file" in capsys.readouterr().err

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(eb.attacks.DDN, "__call__", interrupted)
    assert main([*arguments, "--method", "deepfool", "--out", str(out)]) == 130
    printed = capsys.readouterr().out
    assert "interrupted: the last attack did not end" in printed
    assert "deepfool" not in printed


def test_figures_by_command(card, tmp_path, capsys):
    runs = [tmp_path / "a", tmp_path / "b"]
    for run, radius in zip(runs, ("0.05", "0.1"), strict=True):
        arguments = ["audit", str(card), "digits,first=40", "--ball", f"linf:{radius}", "--out", str(run)]
        assert main([*arguments, "--attack", "fgsm", "--certificates", "interval"]) == 0
    assert main(["figure", "risk", *map(str, runs), "--out", str(tmp_path / "risk.png")]) == 0
    assert main(["figure", "overlap", "--out", str(tmp_path / "overlap.svg")]) == 0
    assert main(["figure", "gaussian", "--radius", "0.5", "--out", str(tmp_path / "gaussian.png")]) == 0
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("risk.png", "overlap.svg", "gaussian.png"))
    capsys.readouterr()
    assert main(["figure", "risk", str(runs[0]), "--out", str(tmp_path / "one.png")]) == 2
    assert "two radii" in capsys.readouterr().err
