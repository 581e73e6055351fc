"""How often the report's 95 % intervals cover the truth on decisions of a learning router.

    python benches/coverage.py [--runs 200] [--requests 800]

Each run is a bandit on simulated prompts: a model's chance of success is linear in how easy the prompt is, the predicted chances have the
right mean and the wrong slope. `flipped`: the predicted chances are those of the other model. The truth is the mean grade that a model would
have on all prompts.
"""

from __future__ import annotations

import argparse

import numpy as np

from turnout.evaluate.traffic.estimates import Resampling, counterfactual
from turnout.evaluate.traffic.traffic import Traffic, join
from turnout.outcomes import Outcome
from turnout.outcomes.bandit import Bandit, BanditSettings

SCENARIOS = {
    "two models": ([0.75, 0.7], 0.02),
    "two models, flipped": ([0.7, 0.75], 0.02),
    "three models": ([0.75, 0.7, 0.6], 0.1),
}
SLOPES = np.array([0.2, 0.6, 0.5])


def simulated(scenario: str, requests: int, seed: int) -> Traffic:
    """Decisions of one run."""
    means, max_loss = SCENARIOS[scenario]
    generator = np.random.default_rng([seed, len(scenario)])
    names = [str(model) for model in range(len(means))]
    predicted = np.sort(means)[::-1]
    bandit = Bandit(names, BanditSettings(max_loss=max_loss, seed=seed))
    receipts, outcomes = [], []
    for number in range(requests):
        easy = generator.random() - 0.5
        success = np.clip(predicted + 0.4 * easy, 0, 1)
        choice = bandit.choose(success, np.zeros(len(names)), int(success.argmax()))
        true = means[choice.model] + SLOPES[choice.model] * easy
        outcome = float(generator.random() < true)
        bandit.learn(choice.model, outcome, success[choice.model], choice.features)
        model = names[choice.model]
        receipts.append(
            {
                "request_id": f"r{number}",
                "prompt_sha256": f"p{number}",
                "win_rate": easy + 0.5,
                "model": model,
                "served": model,
                "propensities": dict(zip(names, choice.propensities.tolist(), strict=True)),
            }
        )
        outcomes.append(Outcome(f"r{number}", "passed", outcome))
    return join(receipts, outcomes, {})


def main() -> None:
    """Prints coverage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--requests", type=int, default=800)
    args = parser.parse_args()
    print("| scenario | model | mean share of decisions | runs with an estimate | doubly robust covers | IPS covers |")
    print("|---|---|---|---|---|---|")
    for scenario, (means, _) in SCENARIOS.items():
        covered: dict[str, list[tuple[bool, bool]]] = {str(model): [] for model in range(len(means))}
        shares = np.zeros(len(means))
        for seed in range(args.runs):
            traffic = simulated(scenario, args.requests, seed)
            for model, truth in enumerate(means):
                name = str(model)
                shares[model] += (traffic.served == name).mean() / args.runs
                found = counterfactual(traffic, traffic.grades["passed"], name, Resampling(400))
                if found is not None:
                    ends = found.doubly_robust, found.ips
                    covered[name].append((ends[0].low <= truth <= ends[0].high, ends[1].low <= truth <= ends[1].high))
        for model, (name, rows) in enumerate(covered.items()):
            robust, ips = np.mean(rows, axis=0) if rows else (np.nan, np.nan)
            print(
                f"| {scenario} | {name} | {shares[model]:.0%} | {len(rows)} of {args.runs} | {robust:.1%} | {ips:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
