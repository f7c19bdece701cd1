"""Exporting: the results of a run in forms that others take, each value with its place in the evidence."""

from epsball.auditing.exporting.export import Export, export

__all__ = ["Export", "export"]
