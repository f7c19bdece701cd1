"""MLflow: metrics, parameters and the export of a run."""

from pathlib import Path

from epsball.auditing.result import Audit
from epsball.auditing.trackers.logged import logged
from epsball.errors import MissingExtra


def log_to_mlflow(run: str | Path | Audit, *, step: int | None = None) -> None:
    """Log a finished run into the active MLflow run; where none is active, MLflow starts one.

    Parameters
    ----------
    run
        The folder of an audit, or the audit, made with a folder.
    step
        The step of the metrics, as in one per checkpoint; parameters are logged where it is None.

    Raises
    ------
    MissingExtra
        If MLflow is not installed.
    """
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtra("mlflow", "mlflow", "log_to_mlflow") from error
    what = logged(run)
    mlflow.log_metrics(what.numbers, step=step)
    if step is None:
        mlflow.log_params(what.words)
    mlflow.log_dict(what.document, "epsball.json" if step is None else f"epsball-{step}.json")
