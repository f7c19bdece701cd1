"""Models by name: the reference architectures, the user's own, exported programs, trained models."""

from epsball.models.architectures import ARCHITECTURES as ARCHITECTURES
from epsball.models.card import Card as Card
from epsball.models.card import read_card as read_card
from epsball.models.loader import LoadedModel as LoadedModel
from epsball.models.loader import load as load
