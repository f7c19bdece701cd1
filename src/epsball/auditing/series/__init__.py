"""Several balls: one run each, which take over from each other what holds for both."""

from epsball.auditing.series.audit_balls import audit_balls
from epsball.auditing.series.order import bisected, distinct
from epsball.auditing.series.result import AuditsByRadius

__all__ = ["AuditsByRadius", "audit_balls", "bisected", "distinct"]
