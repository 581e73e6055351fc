"""Trains a router on graded answers of your own two models, then measures it on prompts it has not seen.

The encoder of the router in the package stays as it is; what is fitted to your prompts takes seconds and needs no GPU and no PyTorch.
On the command line: turnout train mf --outcomes outcomes.csv --dev dev.csv --out my-router

Run: python examples/train_on_outcomes.py   (writes the artifact folder my-router)
"""

from pathlib import Path

import turnout
from turnout.artifact.origin import Origin
from turnout.data import BadRows, read_outcomes
from turnout.evaluate import Options, evaluate
from turnout.routers.mf.export import write_mf
from turnout.routers.mf.train import MfConfig, train_mf
from turnout.training.files import TrainingFiles
from turnout.training.pair import Pair

DATA = Path(__file__).parent / "data"
STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"
OUT = Path("my-router")

# 1. Load: a prompt and a score of each model a row.
data = TrainingFiles(outcomes=[DATA / "outcomes.csv"]).read()

# 2. Train. Scores are those of prompts that the fit did not have.
trained = train_mf(MfConfig(Pair(STRONG, WEAK)), data)
print(f"APGR on left-out prompts {trained.scores[0].router}, prompt length {trained.scores[0].length}")
write_mf(trained, data, Origin("my-router"), OUT)

# 3. Measure on new prompts, beside the router in the package.
routers = {"mine": turnout.load(OUT), "mf": turnout.load()}
table = read_outcomes(DATA / "dev.csv", bad=BadRows())
evaluation = evaluate(table, routers, Options(strong=STRONG, weak=WEAK))
for name, result in evaluation.routers.items():
    apgr = result.figures["apgr"]
    print(f"{name:15} APGR {apgr.value:.3f} [{apgr.low:.3f}, {apgr.high:.3f}]")

# 4. Use.
print(turnout.load(OUT, strong_share=0.5).route("Prove that there are infinitely many primes."))
