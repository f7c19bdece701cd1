"""Running: an audit whose arguments are checked, shard by shard, and what its shards add up to."""

from epsball.auditing.running.part import Part
from epsball.auditing.running.plan import Plan
from epsball.auditing.running.request import NO_CERTIFICATES, Request
from epsball.auditing.running.run import run
from epsball.auditing.running.sharing import Shared

__all__ = ["NO_CERTIFICATES", "Part", "Plan", "Request", "Shared", "run"]
