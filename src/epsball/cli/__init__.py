"""The command line: one thin command per verb."""

from epsball.cli.app import main as main
