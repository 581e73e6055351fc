"""Chooses a threshold for a monthly budget, then keeps the share of strong calls while prompts arrive.

Run: python examples/calibrate_budget.py
"""

from pathlib import Path

import turnout
from turnout.calibrate import CostModel, threshold_for_cost

PROMPTS = (Path(__file__).parent / "data" / "prompts.txt").read_text(encoding="utf-8").splitlines()

router = turnout.load(strong="gpt-4o", weak="gpt-4o-mini")

# Prices are in dollars per million tokens; answers average 300 tokens unless told otherwise.
prices = CostModel(strong_in_per_mtok=2.5, strong_out_per_mtok=10, weak_in_per_mtok=0.15, weak_out_per_mtok=0.6)
strong_cost, weak_cost = prices.costs(PROMPTS)
choice = threshold_for_cost(
    router.win_rates(PROMPTS), strong_cost, weak_cost, per_month=1000, requests_per_month=1_000_000
)

print(f"threshold {choice.threshold:.4f} sends {choice.strong_share:.0%} of these prompts to {router.strong}")
print(f"${choice.achieved * 1e6:,.0f} a month; 95 % interval ${choice.low * 1e6:,.0f} to ${choice.high * 1e6:,.0f}")
print(f"{router.strong} alone would cost ${choice.details['strong_alone'] * 1e6:,.0f}")
for warning in choice.warnings:
    print(f"warning: {warning}")

# Traffic changes. The controller moves the threshold so that the share holds.
budget = turnout.BudgetController(router, strong_share=choice.strong_share, window=100)
for prompt in PROMPTS * 10:
    budget.route(prompt)
print(f"share over {budget.prompts} prompts: {budget.realized_share:.1%}, asked for {budget.strong_share:.1%}")
