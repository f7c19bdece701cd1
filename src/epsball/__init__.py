"""epsball: how robust a classifier is really, provably, and compared with what is possible at all.

Every name is imported when it is first used, so that ``import epsball`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from epsball._version import __version__ as __version__

if TYPE_CHECKING:
    from epsball import attacks as attacks
    from epsball import auditing as auditing
    from epsball import ball as ball
    from epsball import certificates as certificates
    from epsball import classifier as classifier
    from epsball import data as data
    from epsball import errors as errors
    from epsball import fronts as fronts
    from epsball import graph as graph
    from epsball import limits as limits
    from epsball import masking as masking
    from epsball import models as models
    from epsball import pixels as pixels
    from epsball import report as report
    from epsball import results as results
    from epsball import risk as risk
    from epsball import similarity as similarity
    from epsball import smoothing as smoothing
    from epsball import statistics as statistics
    from epsball import training as training
    from epsball import verification as verification
    from epsball.attacks import AttackResult as AttackResult
    from epsball.attacks import Sensitivity as Sensitivity
    from epsball.attacks import attack as attack
    from epsball.attacks import sensitivity as sensitivity
    from epsball.auditing import Audit as Audit
    from epsball.auditing import AuditsByRadius as AuditsByRadius
    from epsball.auditing import Chain as Chain
    from epsball.auditing import Comparison as Comparison
    from epsball.auditing import Export as Export
    from epsball.auditing import Gate as Gate
    from epsball.auditing import JobPlan as JobPlan
    from epsball.auditing import Merge as Merge
    from epsball.auditing import MergesByRadius as MergesByRadius
    from epsball.auditing import ModelCheck as ModelCheck
    from epsball.auditing import RunVerification as RunVerification
    from epsball.auditing import audit as audit
    from epsball.auditing import check as check
    from epsball.auditing import compare as compare
    from epsball.auditing import export as export
    from epsball.auditing import gate as gate
    from epsball.auditing import merge as merge
    from epsball.auditing import plan as plan
    from epsball.auditing import verify_run as verify_run
    from epsball.ball import Ball as Ball
    from epsball.certificates import Certificates as Certificates
    from epsball.certificates import certify as certify
    from epsball.classifier import Classifier as Classifier
    from epsball.classifier import Normalise as Normalise
    from epsball.errors import AssumptionError as AssumptionError
    from epsball.errors import CertificateError as CertificateError
    from epsball.errors import EpsballError as EpsballError
    from epsball.errors import InputError as InputError
    from epsball.errors import MissingExtra as MissingExtra
    from epsball.errors import ModelError as ModelError
    from epsball.errors import SoundnessError as SoundnessError
    from epsball.errors import UnsupportedOperation as UnsupportedOperation
    from epsball.fronts import Front as Front
    from epsball.fronts import front as front
    from epsball.limits import OptimalRisk as OptimalRisk
    from epsball.limits import optimal_risk as optimal_risk
    from epsball.masking import Diagnosis as Diagnosis
    from epsball.masking import diagnose as diagnose
    from epsball.masking.landscape import Landscape as Landscape
    from epsball.masking.landscape import landscape as landscape
    from epsball.report import Page as Page
    from epsball.report import page as page
    from epsball.similarity import Similarities as Similarities
    from epsball.similarity import Similarity as Similarity
    from epsball.similarity import cka as cka
    from epsball.similarity import similarities as similarities
    from epsball.smoothing import Smoothed as Smoothed
    from epsball.smoothing import smooth as smooth
    from epsball.statistics import Bound as Bound
    from epsball.statistics import Interval as Interval
    from epsball.training import Training as Training
    from epsball.training import train as train
    from epsball.verification import Verification as Verification
    from epsball.verification import verify as verify
    from epsball.workers import Workers as Workers


_HOMES = {
    "Audit": "auditing",
    "AuditsByRadius": "auditing",
    "AttackResult": "attacks",
    "AssumptionError": "errors",
    "Ball": "ball",
    "Bound": "statistics",
    "CertificateError": "errors",
    "Certificates": "certificates",
    "Chain": "auditing",
    "Classifier": "classifier",
    "Comparison": "auditing",
    "Diagnosis": "masking",
    "EpsballError": "errors",
    "Export": "auditing",
    "Front": "fronts",
    "Gate": "auditing",
    "InputError": "errors",
    "Interval": "statistics",
    "JobPlan": "auditing",
    "Landscape": "masking.landscape",
    "Merge": "auditing",
    "MergesByRadius": "auditing",
    "MissingExtra": "errors",
    "ModelCheck": "auditing",
    "ModelError": "errors",
    "Normalise": "classifier",
    "OptimalRisk": "limits",
    "Page": "report",
    "RunVerification": "auditing",
    "Sensitivity": "attacks",
    "Similarities": "similarity",
    "Similarity": "similarity",
    "Smoothed": "smoothing",
    "SoundnessError": "errors",
    "Training": "training",
    "UnsupportedOperation": "errors",
    "Verification": "verification",
    "Workers": "workers",
    "attack": "attacks",
    "audit": "auditing",
    "certify": "certificates",
    "check": "auditing",
    "cka": "similarity",
    "compare": "auditing",
    "diagnose": "masking",
    "export": "auditing",
    "front": "fronts",
    "gate": "auditing",
    "landscape": "masking.landscape",
    "merge": "auditing",
    "optimal_risk": "limits",
    "page": "report",
    "plan": "auditing",
    "sensitivity": "attacks",
    "similarities": "similarity",
    "smooth": "smoothing",
    "train": "training",
    "verify": "verification",
    "verify_run": "auditing",
}
_ROOMS = (
    "attacks",
    "auditing",
    "ball",
    "certificates",
    "classifier",
    "data",
    "errors",
    "fronts",
    "graph",
    "limits",
    "masking",
    "models",
    "pixels",
    "report",
    "results",
    "risk",
    "similarity",
    "smoothing",
    "statistics",
    "training",
    "verification",
)

__all__ = sorted([*_HOMES, *_ROOMS, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"epsball.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return import_module(f"epsball.{name}")
    raise AttributeError(f"module 'epsball' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
