"""The values that named options take, as `Literal` types: one place for the library and for the command line.

This module imports nothing heavy, so that the command line's help and its complaints cost next to nothing.
"""

from typing import Literal

NormName = Literal["linf", "l2", "l1"]
"""The norms."""

Precision = Literal["float32", "bf16"]
"""The arithmetic of a search or of a training."""

Stop = Literal["first", "never"]
"""When an example leaves a search: at its first witness, or when the attack has run to its end."""

Semantics = Literal["float32", "real"]
"""What a certificate is about: the deployed float32 network, or the real-valued function of its weights."""

MethodName = Literal[
    "auto",
    "interval",
    "ibp",
    "lipschitz",
    "crown-ibp",
    "forward",
    "crown",
    "optimised",
    "alpha-crown",
    "wong-kolter",
    "lp",
    "lp-tight",
    "sdp",
    "complete",
]
"""The methods of certificates."""

NoCertificates = Literal["none"]
"""An audit without certificates."""

NoiseName = Literal["gaussian", "laplace", "uniform"]
"""The noises of a smoothed classifier."""

ShareBound = Literal["sequence", "fixed"]
"""How the share of the top class is bounded: at every number of samples at once, or after a fixed number."""

EffortName = Literal["quick", "standard", "full"]
"""The efforts of an audit."""

OnUndecided = Literal["fail", "pass"]
"""What an answer of a gate that cannot be given counts as."""
SizeName = Literal["fast", "default", "full"]
"""The sizes of a reproduction: minutes, hours, or what the papers took."""

TableFormat = Literal["text", "markdown", "latex", "csv", "json"]
"""How a table is printed."""

ExportForm = Literal["json", "csv", "modelcard", "iso24029", "aiact15"]
"""The forms in which the results of a run leave."""

KernelName = Literal["linear", "rbf"]
"""The kernels of a similarity."""

Estimator = Literal["debiased", "plain"]
"""The estimators of HSIC."""

OptimiserName = Literal["sgd", "adam"]
"""The optimisers of a training."""

ScheduleName = Literal["constant", "cosine", "piecewise", "one-cycle"]
"""The schedules of the learning rate."""
