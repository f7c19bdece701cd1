"""Training: objectives, one small file each, and the engine that serves them all."""

from epsball.training.engine import train as train
from epsball.training.objective import Context as Context
from epsball.training.objective import Losses as Losses
from epsball.training.objective import Objective as Objective
from epsball.training.pgd import PGD as PGD
from epsball.training.recipe import Recipe as Recipe
from epsball.training.registry import OBJECTIVES as OBJECTIVES
from epsball.training.registry import named as named
from epsball.training.result import Epoch as Epoch
from epsball.training.result import Training as Training
from epsball.training.standard import Standard as Standard
