"""Measures the default router on prompts with scores of two models, and draws its curve.

Run: python examples/evaluate_plot.py       (writes curves.png)
"""

from pathlib import Path

import turnout
from turnout.data import BadRows, read_outcomes
from turnout.evaluate import Options, evaluate
from turnout.evaluate.plots import curves

TABLE = Path(__file__).parent / "data" / "outcomes.csv"  # prompt, and a column of scores for each model

bad = BadRows()  # collects rows that cannot be used
outcomes = read_outcomes(TABLE, bad=bad)
if bad:
    print(bad)
options = Options(strong="gpt-4-1106-preview", weak="mixtral-8x7b-instruct-v0.1", resamples=500)
evaluation = evaluate(outcomes, {"mf": turnout.load()}, options)

for name, result in evaluation.routers.items():  # `prompt length` is always measured beside the routers
    apgr = result.figures["apgr"]
    print(f"{name:15} APGR {apgr.value:.3f} [{apgr.low:.3f}, {apgr.high:.3f}]")
print("random          APGR 0.500")

curves(evaluation).savefig("curves.png", dpi=160)
print("picture: curves.png")
