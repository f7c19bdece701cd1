"""A model as every pillar sees it: inputs in a box, normalisation inside, logits out."""

from epsball.classifier._classifier import Classifier as Classifier
from epsball.classifier._classifier import Passes as Passes
from epsball.classifier.normalise import Normalise as Normalise
