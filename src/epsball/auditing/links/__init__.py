"""The links of the chain, one file each. A later pillar adds its link here."""

from epsball.auditing.links.attack import AttackLink as AttackLink
from epsball.auditing.links.certificate import CertificateLink as CertificateLink
from epsball.auditing.links.natural import NaturalLink as NaturalLink
