"""Functions of one variable: their shape, their bounds over an interval, and lines below and above them."""

from epsball.certificates.curves.curve import Curve
from epsball.certificates.curves.relaxation import Lines, lines_of
from epsball.certificates.curves.rectifier import rectifier_lines
from epsball.certificates.curves.table import curve_of

__all__ = ["Curve", "Lines", "curve_of", "lines_of", "rectifier_lines"]
