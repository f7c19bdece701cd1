"""Training: objectives, one small file each, and the engine that serves them all."""

from epsball.training.engine.recipe import Recipe as Recipe
from epsball.training.evaluation.epoch import Epoch as Epoch
from epsball.training.objectives.awp import AWP as AWP
from epsball.training.objectives.cascade import Cascade as Cascade
from epsball.training.objectives.fgsm_rs import FGSMRS as FGSMRS
from epsball.training.objectives.free import Free as Free
from epsball.training.objectives.input_gradient import InputGradient as InputGradient
from epsball.training.objectives.kgb17 import KGB17 as KGB17
from epsball.training.objectives.mart import MART as MART
from epsball.training.objectives.objective import Adversarial as Adversarial
from epsball.training.objectives.objective import Context as Context
from epsball.training.objectives.objective import Losses as Losses
from epsball.training.objectives.objective import Objective as Objective
from epsball.training.objectives.pgd import PGD as PGD
from epsball.training.objectives.registry import OBJECTIVES as OBJECTIVES
from epsball.training.objectives.registry import named as named
from epsball.training.objectives.registry import resolve as resolve
from epsball.training.objectives.stability import Stability as Stability
from epsball.training.objectives.standard import Standard as Standard
from epsball.training.objectives.trades import TRADES as TRADES
from epsball.training.plan import Plan as Plan
from epsball.training.plan import plan as plan
from epsball.training.processes import Processes as Processes
from epsball.training.processes import join as join
from epsball.training.result import Training as Training
from epsball.training.train import train as train
