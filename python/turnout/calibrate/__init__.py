"""Chooses thresholds on your own prompts, and calibrates win rates.

*Threshold selection* (:func:`threshold_for_share`, :func:`threshold_for_cost`, :func:`threshold_for_quality`) sets how many prompts go
to the strong model. *Calibration* (:func:`fit_calibration`) turns scores into probabilities. It keeps the order of prompts, so routing
at an equal share stays the same.
"""

from turnout.budget import BudgetController
from turnout.calibrate.choice import Choice
from turnout.calibrate.cost import CostModel, threshold_for_cost
from turnout.calibrate.quality import threshold_for_quality
from turnout.calibrate.share import threshold_for_share
from turnout.calibrate.store import raw_win_rates, read_thresholds, store_calibration, store_threshold, write_thresholds
from turnout.calibrate.win_rate import Calibration, fit_calibration

__all__ = [
    "BudgetController",
    "Calibration",
    "Choice",
    "CostModel",
    "fit_calibration",
    "raw_win_rates",
    "read_thresholds",
    "store_calibration",
    "store_threshold",
    "threshold_for_cost",
    "threshold_for_quality",
    "threshold_for_share",
    "write_thresholds",
]
