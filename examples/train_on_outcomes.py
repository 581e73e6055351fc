"""Trains a router on graded answers of your own two models, then measures it on prompts it has not seen.

This one needs no GPU and no PyTorch: graded answers become battles, and a router of kind sw_ranking weighs the battles
whose prompts resemble the new one. `turnout train mf` (extra [train]) trains a network instead; see docs/train.md.

Run: python examples/train_on_outcomes.py   (writes battles.csv and the artifact folder my-router)
"""

from pathlib import Path

import turnout
from turnout.augment.battle_table import write_battles
from turnout.augment.gold import gold_battles
from turnout.data import BadRows, read_outcomes
from turnout.evaluate import Options as EvaluationOptions
from turnout.evaluate import evaluate
from turnout.routers.sw_ranking.encoder import encoder_of
from turnout.routers.sw_ranking.table import read_battle_table
from turnout.routers.sw_ranking.train import Options, build

DATA = Path(__file__).parent / "data"
STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"
BATTLES, OUT = Path("battles.csv"), Path("my-router")

bad = BadRows()  # collects rows that cannot be used

# 1. Load: the model with the higher score wins the prompt, equal scores tie.
write_battles(gold_battles(read_outcomes(DATA / "outcomes.csv", bad=bad), STRONG, WEAK), BATTLES, source="my grades")
battles = read_battle_table([BATTLES], bad=bad)

# 2. Train: embeddings come from the encoder of the router that ships with turnout.
encoder = encoder_of(turnout.load("mf").path)
build(battles, encoder, Options(strong=STRONG, weak=WEAK, tiers=2), OUT)

# 3. Measure, beside the shipped router and the length of the prompt.
routers = {"mine": turnout.load(OUT), "mf": turnout.load()}
evaluation = evaluate(read_outcomes(DATA / "dev.csv", bad=bad), routers, EvaluationOptions(strong=STRONG, weak=WEAK))
for name, result in evaluation.routers.items():
    apgr = result.figures["apgr"]
    print(f"{name:15} APGR {apgr.value:.3f} [{apgr.low:.3f}, {apgr.high:.3f}]")

# 4. Use.
print(turnout.load(OUT, strong_share=0.5).route("Prove that there are infinitely many primes."))
