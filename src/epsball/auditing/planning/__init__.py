"""Planning: what an audit will take, measured on some of its examples."""

from epsball.auditing.planning.plan import JobPlan, plan

__all__ = ["JobPlan", "plan"]
