"""Trackers: what they log of a run are its numbers and intervals, read back by the libraries themselves."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import epsball as eb
from auditing.cases import case
from epsball.auditing import log_to_mlflow, log_to_tensorboard, log_to_wandb
from epsball.errors import InputError, MissingExtra

LIBRARY = Path(eb.__file__).parent / "auditing" / "trackers"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    classifier, x, y = case(20)
    folder = tmp_path_factory.mktemp("run") / "audit"
    options = {"attack": "pgd,steps=5", "certificates": "none", "limit": False, "folder": folder}
    return eb.audit(classifier, (x, y), eb.Ball("linf", 0.02), **options)


def expected(run):
    """Return accuracy under attack and its interval, by the names they are logged under."""
    place = run.chain.places["accuracy under attack"]
    name = "epsball/accuracy_under_attack"
    return {name: place.value, f"{name}_low": place.interval.low, f"{name}_high": place.interval.high}


@pytest.mark.parametrize("name", ["mlflow", "wandb", "tensorboard"])
def test_a_callback_has_at_most_40_lines(name):
    assert len((LIBRARY / f"{name}.py").read_text().splitlines()) <= 40


def test_tensorboard_reads_the_numbers_back(run, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_to_tensorboard(run, tmp_path, step=3)
    events = EventAccumulator(str(tmp_path)).Reload()
    for name, value in expected(run).items():
        (scalar,) = events.Scalars(name)
        assert (scalar.step, scalar.value) == (3, pytest.approx(value, rel=1e-6))
    assert any("perturbation_set" in tag for tag in events.Tags()["tensors"])
    assert not any("certified" in tag for tag in events.Tags()["scalars"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_the_numbers_back(run, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(tmp_path.as_uri())
    mlflow.set_experiment("test")
    with mlflow.start_run() as active:
        log_to_mlflow(run)
    found = mlflow.get_run(active.info.run_id).data
    assert {name: found.metrics[name] for name in expected(run)} == pytest.approx(expected(run))
    assert found.params["epsball/perturbation_set"] == "linf:0.02"
    assert list(tmp_path.rglob("epsball.json"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_takes_the_numbers(run, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with pytest.raises(InputError, match="init"):
        log_to_wandb(run)
    with wandb.init(mode="offline", dir=str(tmp_path), project="test") as active:
        log_to_wandb(run)
        assert {name: active.summary[name] for name in expected(run)} == pytest.approx(expected(run))
        assert active.config["epsball/perturbation_set"] == "linf:0.02"
    assert list(tmp_path.rglob("*.wandb"))


class Recorder:
    """Stands where a library is not installed: records what it is told."""

    def __init__(self):
        self.told = {}

    def __getattr__(self, name):
        return lambda *args, **options: self.told.update({name: (args, options)})


def test_what_the_callbacks_tell_the_libraries(run, monkeypatch):
    mlflow = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    log_to_mlflow(run.folder, step=2)
    assert set(mlflow.told) == {"log_metrics", "log_dict"}
    (numbers,), options = mlflow.told["log_metrics"]
    assert options == {"step": 2}
    assert expected(run).items() <= numbers.items()
    active, config = Recorder(), Recorder()
    active.config = config
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=active))
    log_to_wandb(run)
    assert expected(run).items() <= active.told["log"][0][0].items()
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=None))
    with pytest.raises(InputError, match="init"):
        log_to_wandb(run)


@pytest.mark.parametrize(("name", "call"), [("mlflow", log_to_mlflow), ("wandb", log_to_wandb)])
def test_a_library_that_is_missing_is_named(name, call, run, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=name):
        call(run)
