"""The audit: joins the pillars into per-example evidence and the chain."""

from epsball.auditing.audit import audit as audit
from epsball.auditing.chain import Chain as Chain
from epsball.auditing.checking import ModelCheck as ModelCheck
from epsball.auditing.checking import check as check
from epsball.auditing.comparing import Comparison as Comparison
from epsball.auditing.comparing import ComparisonByBall as ComparisonByBall
from epsball.auditing.comparing import compare as compare
from epsball.auditing.comparing import compare_by_ball as compare_by_ball
from epsball.auditing.exporting import Export as Export
from epsball.auditing.exporting import export as export
from epsball.auditing.figure import witness_figure as witness_figure
from epsball.auditing.gating import Gate as Gate
from epsball.auditing.gating import gate as gate
from epsball.auditing.merging import Merge as Merge
from epsball.auditing.merging import MergesByRadius as MergesByRadius
from epsball.auditing.merging import merge as merge
from epsball.auditing.planning import JobPlan as JobPlan
from epsball.auditing.planning import plan as plan
from epsball.auditing.result import Audit as Audit
from epsball.auditing.series import AuditsByRadius as AuditsByRadius
from epsball.auditing.trackers import log_to_mlflow as log_to_mlflow
from epsball.auditing.trackers import log_to_tensorboard as log_to_tensorboard
from epsball.auditing.trackers import log_to_wandb as log_to_wandb
from epsball.auditing.verifying import RunVerification as RunVerification
from epsball.auditing.verifying import verify_run as verify_run

witness_picture = witness_figure  # old name, until 0.3
