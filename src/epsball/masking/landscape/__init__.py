"""Landscapes: margin, loss and class in a plane of input space, with the numbers that a picture hides."""

from epsball.masking.landscape.directions import DirectionName as DirectionName
from epsball.masking.landscape.directions import parsed as parsed
from epsball.masking.landscape.landscape import landscape as landscape
from epsball.masking.landscape.lines import Line as Line
from epsball.masking.landscape.marks import Mark as Mark
from epsball.masking.landscape.numbers import Numbers as Numbers
from epsball.masking.landscape.result import Landscape as Landscape
from epsball.masking.landscape.side_by_side import Landscapes as Landscapes
