"""Measures routers on tables of outcomes (extra ``[eval]``): figures, baselines, pictures, contamination, robustness."""

from turnout.evaluate.evaluation import Evaluation, Options, evaluate
from turnout.evaluate.metrics import Prices
from turnout.evaluate.routellm import routellm_metrics

__all__ = ["Evaluation", "Options", "Prices", "evaluate", "routellm_metrics"]
