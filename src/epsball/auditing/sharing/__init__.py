"""Sharing: what finished runs know of the same examples, within other balls or of another network."""

from epsball.auditing.sharing.baseline import baseline_of, folder_name
from epsball.auditing.sharing.source import Source

__all__ = ["Source", "baseline_of", "folder_name"]
