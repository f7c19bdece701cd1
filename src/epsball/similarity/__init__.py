"""Similarity of learned representations: centred kernel alignment, layer by layer."""

from epsball.similarity.cka import cka as cka
from epsball.similarity.cka import layer_names as layer_names
from epsball.similarity.heatmap import heatmaps as heatmaps
from epsball.similarity.kernels import RBF as RBF
from epsball.similarity.kernels import Linear as Linear
from epsball.similarity.result import Similarity as Similarity
from epsball.similarity.similarities import Similarities as Similarities
from epsball.similarity.similarities import similarities as similarities
from epsball.similarity.structure import Shift as Shift
from epsball.similarity.structure import Structure as Structure
from epsball.similarity.structure import shift as shift
