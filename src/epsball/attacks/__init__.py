"""Attacks: one file a method; the driver verifies what they find and keeps the ledger."""

from epsball.attacks.carlini_wagner import CarliniWagner as CarliniWagner
from epsball.attacks.curve import AccuracyCurve as AccuracyCurve
from epsball.attacks.ddn import DDN as DDN
from epsball.attacks.deepfool import DeepFool as DeepFool
from epsball.attacks.driver import attack as attack
from epsball.attacks.fab import FAB as FAB
from epsball.attacks.fab import TargetedFAB as TargetedFAB
from epsball.attacks.fmn import FMN as FMN
from epsball.attacks.ledger import Ledger as Ledger
from epsball.attacks.pdpgd import PDPGD as PDPGD
from epsball.attacks.pgd import FGSM as FGSM
from epsball.attacks.pgd import PGD as PGD
from epsball.attacks.pgd import RandomisedFGSM as RandomisedFGSM
from epsball.attacks.protocol import Attack as Attack
from epsball.attacks.query import Query as Query
from epsball.attacks.registry import ATTACKS as ATTACKS
from epsball.attacks.result import AttackResult as AttackResult
