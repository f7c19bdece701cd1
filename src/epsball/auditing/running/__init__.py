"""Running: an audit whose arguments are checked, shard by shard, and what its shards add up to."""

from epsball.auditing.running.plan import Plan
from epsball.auditing.running.request import NO_CERTIFICATES, Request
from epsball.auditing.running.run import run

__all__ = ["NO_CERTIFICATES", "Plan", "Request", "run"]
