"""The audit: joins the pillars into per-example evidence and the chain."""

from epsball.auditing.audit import audit as audit
from epsball.auditing.chain import Chain as Chain
from epsball.auditing.comparing import Comparison as Comparison
from epsball.auditing.comparing import compare as compare
from epsball.auditing.figure import witness_figure as witness_figure
from epsball.auditing.result import Audit as Audit

witness_picture = witness_figure  # old name, until 0.3
