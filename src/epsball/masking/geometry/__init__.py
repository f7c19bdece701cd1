"""How a function of the input looks within N(x): expansion, local linearity, curvature, agreement of gradients."""

from epsball.masking.geometry.agreement import Agreement as Agreement
from epsball.masking.geometry.agreement import gradient_agreement as gradient_agreement
from epsball.masking.geometry.curvature import Curvature as Curvature
from epsball.masking.geometry.curvature import curvature as curvature
from epsball.masking.geometry.expansion import Expansion as Expansion
from epsball.masking.geometry.expansion import expansion as expansion
from epsball.masking.geometry.linearity import Linearity as Linearity
from epsball.masking.geometry.linearity import local_linearity as local_linearity
from epsball.masking.geometry.surface import FUNCTIONS as FUNCTIONS
from epsball.masking.geometry.surface import FunctionName as FunctionName
from epsball.masking.geometry.surface import Surface as Surface
