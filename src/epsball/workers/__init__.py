"""Workers: independent tasks in several processes of one machine, or on a cluster; one that dies is replaced."""

from epsball.workers.gathered import Gathered, gathering
from epsball.workers.options import Sent, Workers, as_workers
from epsball.workers.outcome import Outcome, WorkersError
from epsball.workers.run import run

__all__ = ["Gathered", "Outcome", "Sent", "Workers", "WorkersError", "as_workers", "gathering", "run"]
