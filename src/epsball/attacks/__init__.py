"""Attacks: one file a method; the driver verifies what they find and keeps the ledger."""

from epsball.attacks.adapters import from_art as from_art
from epsball.attacks.adapters import from_foolbox as from_foolbox
from epsball.attacks.adapters import from_torchattacks as from_torchattacks
from epsball.attacks.approximation import bpda as bpda
from epsball.attacks.averaged import GradientNoise as GradientNoise
from epsball.attacks.collision import Collision as Collision
from epsball.attacks.driver import attack as attack
from epsball.attacks.expectation import ExpectationOverTransformation as ExpectationOverTransformation
from epsball.attacks.expectation import expectation_over_transformation as expectation_over_transformation
from epsball.attacks.hop_skip_jump import HopSkipJump as HopSkipJump
from epsball.attacks.ledger import Ledger as Ledger
from epsball.attacks.nes import NES as NES
from epsball.attacks.pgd import FGSM as FGSM
from epsball.attacks.pgd import PGD as PGD
from epsball.attacks.pgd import RandomisedFGSM as RandomisedFGSM
from epsball.attacks.protocol import Attack as Attack
from epsball.attacks.query import Query as Query
from epsball.attacks.registry import ATTACKS as ATTACKS
from epsball.attacks.result import AttackResult as AttackResult
from epsball.attacks.second_order import SecondOrder as SecondOrder
from epsball.attacks.spsa import SPSA as SPSA
from epsball.attacks.sweep import Sensitivity as Sensitivity
from epsball.attacks.sweep import sensitivity as sensitivity
from epsball.attacks.transfer import Transfer as Transfer
