"""Fronts: one objective trained at several weights, from the most certified to the most natural end."""

from epsball.fronts.front import front as front
from epsball.fronts.point import FrontPoint as FrontPoint
from epsball.fronts.result import Front as Front
