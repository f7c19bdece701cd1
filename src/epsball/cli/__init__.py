"""The command line: one thin command a verb."""

from epsball.cli.app import main as main
