"""Training of the matrix-factorisation router (extra ``[train]``).

:func:`train_mf` is the whole recipe, read from top to bottom; :class:`MfConfig` holds its defaults.
"""

from turnout.train.config import ExpertConfig, MfConfig, Slice
from turnout.train.matrix_factorization import TrainedMf
from turnout.train.recipe import train_mf

__all__ = ["ExpertConfig", "MfConfig", "Slice", "TrainedMf", "train_mf"]
