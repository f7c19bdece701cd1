"""Training: objectives, one small file each, and the engine that serves them all."""

from epsball.training.awp import AWP as AWP
from epsball.training.cascade import Cascade as Cascade
from epsball.training.engine import train as train
from epsball.training.epoch import Epoch as Epoch
from epsball.training.fgsm_rs import FGSMRS as FGSMRS
from epsball.training.free import Free as Free
from epsball.training.input_gradient import InputGradient as InputGradient
from epsball.training.kgb17 import KGB17 as KGB17
from epsball.training.mart import MART as MART
from epsball.training.objective import Adversarial as Adversarial
from epsball.training.objective import Context as Context
from epsball.training.objective import Losses as Losses
from epsball.training.objective import Objective as Objective
from epsball.training.pgd import PGD as PGD
from epsball.training.planning import Plan as Plan
from epsball.training.planning import plan as plan
from epsball.training.processes import Processes as Processes
from epsball.training.processes import join as join
from epsball.training.recipe import Recipe as Recipe
from epsball.training.registry import OBJECTIVES as OBJECTIVES
from epsball.training.registry import named as named
from epsball.training.registry import resolve as resolve
from epsball.training.result import Training as Training
from epsball.training.stability import Stability as Stability
from epsball.training.standard import Standard as Standard
from epsball.training.trades import TRADES as TRADES
