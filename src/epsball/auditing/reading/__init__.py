"""A run folder as a reader sees it: finished or going on, whole or damaged, of this schema or an older one."""

from epsball.auditing.reading.run import Reading as Reading
from epsball.auditing.reading.summary import Summary as Summary
from epsball.auditing.reading.summary import summary as summary
