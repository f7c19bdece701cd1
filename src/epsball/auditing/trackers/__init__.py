"""Trackers of experiments: callbacks that log a finished run's numbers, with their intervals."""

from epsball.auditing.trackers.mlflow import log_to_mlflow
from epsball.auditing.trackers.tensorboard import log_to_tensorboard
from epsball.auditing.trackers.wandb import log_to_wandb

__all__ = ["log_to_mlflow", "log_to_tensorboard", "log_to_wandb"]
