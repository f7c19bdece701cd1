"""Nodes that are affine in their inputs, as what every interpreter needs of them."""

from epsball.certificates.affine.form import Affine
from epsball.certificates.affine.table import affine_form

__all__ = ["Affine", "affine_form"]
