"""Loading data: one text form per kind, one interface for all of them."""

from epsball.data.dataset import Dataset as Dataset
from epsball.data.dataset import as_pixels as as_pixels
from epsball.data.loading import KINDS as KINDS
from epsball.data.loading import load as load
from epsball.data.selection import IncompleteData as IncompleteData

__all__ = ["KINDS", "Dataset", "IncompleteData", "as_pixels", "load"]
