"""``python -m epsball`` is the command line."""

import sys

from epsball.cli import main

sys.exit(main())
