"""The audit: joins the pillars into per-example evidence and the chain."""

from epsball.auditing.audit import audit as audit
from epsball.auditing.chain import Chain as Chain
from epsball.auditing.figure import witness_picture as witness_picture
from epsball.auditing.result import Audit as Audit
