"""The page: one file that a person opens and understands, made of a run's evidence alone."""

from epsball.report.page import Page as Page
from epsball.report.page import page as page
