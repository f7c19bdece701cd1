"""Merging: the parts of an audit that independent jobs made, in one run folder."""

from epsball.auditing.merging.merge import Merge, MergesByRadius, merge

__all__ = ["Merge", "MergesByRadius", "merge"]
