"""Attacks: one file per method; the search verifies what they find and keeps the ledger."""

from epsball.attacks.accuracy_curve import AccuracyCurve as AccuracyCurve
from epsball.attacks.adaptive import bpda as bpda
from epsball.attacks.adaptive import rejecting as rejecting
from epsball.attacks.attack import attack as attack
from epsball.attacks.black_box.collision import Collision as Collision
from epsball.attacks.black_box.hop_skip_jump import HopSkipJump as HopSkipJump
from epsball.attacks.black_box.nes import NES as NES
from epsball.attacks.black_box.spsa import SPSA as SPSA
from epsball.attacks.black_box.square import Square as Square
from epsball.attacks.composed.autoattack import AutoAttack as AutoAttack
from epsball.attacks.composed.autoattack import RandomisedAutoAttack as RandomisedAutoAttack
from epsball.attacks.composed.ensemble import Ensemble as Ensemble
from epsball.attacks.composed.minimum_norm import MinimumNorm as MinimumNorm
from epsball.attacks.composed.multi_start import MultiStart as MultiStart
from epsball.attacks.engine.evaluator import GradientNoise as GradientNoise
from epsball.attacks.engine.ledger import Ledger as Ledger
from epsball.attacks.engine.query import Query as Query
from epsball.attacks.gradient.apgd import APGD as APGD
from epsball.attacks.gradient.apgd import TargetedAPGD as TargetedAPGD
from epsball.attacks.gradient.momentum import MomentumPGD as MomentumPGD
from epsball.attacks.gradient.pgd import FGSM as FGSM
from epsball.attacks.gradient.pgd import PGD as PGD
from epsball.attacks.gradient.pgd import RandomisedFGSM as RandomisedFGSM
from epsball.attacks.gradient.second_order import SecondOrder as SecondOrder
from epsball.attacks.minimum_norm.carlini_wagner import CarliniWagner as CarliniWagner
from epsball.attacks.minimum_norm.carlini_wagner import CarliniWagnerLinf as CarliniWagnerLinf
from epsball.attacks.minimum_norm.ddn import DDN as DDN
from epsball.attacks.minimum_norm.deepfool import DeepFool as DeepFool
from epsball.attacks.minimum_norm.fab import FAB as FAB
from epsball.attacks.minimum_norm.fab import TargetedFAB as TargetedFAB
from epsball.attacks.minimum_norm.fmn import FMN as FMN
from epsball.attacks.minimum_norm.pdpgd import PDPGD as PDPGD
from epsball.attacks.parts.attack import Attack as Attack
from epsball.attacks.registry import ATTACKS as ATTACKS
from epsball.attacks.result import AttackResult as AttackResult
from epsball.attacks.sensitivity import Sensitivity as Sensitivity
from epsball.attacks.sensitivity import sensitivity as sensitivity
from epsball.attacks.wrappers.borrowed_gradients import BorrowedGradients as BorrowedGradients
from epsball.attacks.wrappers.expectation import ExpectationOverTransformation as ExpectationOverTransformation
from epsball.attacks.wrappers.expectation import expectation_over_transformation as expectation_over_transformation
from epsball.attacks.wrappers.other_libraries import from_art as from_art
from epsball.attacks.wrappers.other_libraries import from_foolbox as from_foolbox
from epsball.attacks.wrappers.other_libraries import from_torchattacks as from_torchattacks
from epsball.attacks.wrappers.transfer import Transfer as Transfer

Shots = MultiStart  # old name, until 0.3
