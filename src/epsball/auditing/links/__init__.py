"""The links of the chain, one file each."""

from epsball.auditing.links.attack import AttackLink as AttackLink
from epsball.auditing.links.branching import BranchingLink as BranchingLink
from epsball.auditing.links.certificate import CertificateLink as CertificateLink
from epsball.auditing.links.diagnosis import DiagnosisLink as DiagnosisLink
from epsball.auditing.links.limit import LimitLink as LimitLink
from epsball.auditing.links.natural import NaturalLink as NaturalLink
from epsball.auditing.links.taken import TakenLink as TakenLink
