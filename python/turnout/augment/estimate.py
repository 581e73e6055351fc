"""Requests and costs of a run, without sending any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnout.augment.endpoint import Endpoint, Usage
from turnout.augment.judge import JudgeOptions
from turnout.augment.ledger import Ledger
from turnout.outcomes.comparison import question

#: Characters per token, for estimates only.
_CHARACTERS_A_TOKEN = 4
#: Share of the longest possible answer that an answer takes, for estimates only.
_TYPICAL_SHARE = 0.5


@dataclass(frozen=True)
class Estimate:
    """Requests and costs of a run.

    Attributes:
        requests: Requests still to be sent.
        paid: Requests whose answers the ledger has.
        dollars: Likely cost of those to be sent; ``None`` where a price is missing.
        most_dollars: Their cost if every answer is as long as allowed and a byte is a token.
    """

    requests: int
    paid: int
    dollars: float | None
    most_dollars: float | None


def estimate(ledger: Ledger, options: JudgeOptions, prompts: Sequence[str]) -> Estimate:
    """Requests and costs of a run over prompts; sends nothing.

    A token is taken for four characters and an answer for half of its limit; the judge's questions for prompts without answers are
    as long as such answers make them.

    Args:
        ledger: Says what was paid.
        options: Who would be asked.
        prompts: The prompts.
    """
    requests, paid, likely, most = 0, 0, 0.0, 0.0
    for prompt in dict.fromkeys(prompts):
        answers = [ledger.answer(endpoint.key(prompt)) for endpoint in (options.strong, options.weak)]
        for endpoint, answer in zip((options.strong, options.weak), answers, strict=True):
            if answer is not None:
                paid += 1
                continue
            requests += 1
            likely += endpoint.dollars(_likely(endpoint, len(prompt)))
            most += endpoint.dollars(endpoint.worst_case(prompt))
        known = [answer.text for answer in answers if answer is not None]
        if any(answer is not None and answer.fault for answer in answers) or (len(known) == 2 and known[0] == known[1]):
            continue  # Equal answers need no judge.
        for order in (1, -1):
            if len(known) == 2:
                text = question(prompt, *known[::order])
                if ledger.answer(options.judge.key(text)) is not None:
                    paid += 1
                    continue
            requests += 1
            length = len(question(prompt, "", "")) + sum(
                len(answer.text)
                if answer is not None
                else int(endpoint.max_tokens * _TYPICAL_SHARE) * _CHARACTERS_A_TOKEN
                for endpoint, answer in zip((options.strong, options.weak), answers, strict=True)
            )
            likely += options.judge.dollars(_likely(options.judge, length))
            bare = options.judge.worst_case(question(prompt, "", ""))
            added = sum(
                endpoint.max_tokens * _CHARACTERS_A_TOKEN if answer is None else len(answer.text.encode())
                for endpoint, answer in zip((options.strong, options.weak), answers, strict=True)
            )
            most += options.judge.dollars(Usage(bare.prompt_tokens + added, bare.completion_tokens))
    priced = all(endpoint.price for endpoint in (options.strong, options.weak, options.judge))
    return Estimate(requests, paid, likely if priced else None, most if priced else None)


def _likely(endpoint: Endpoint, characters: int) -> Usage:
    return Usage(-(-characters // _CHARACTERS_A_TOKEN), int(endpoint.max_tokens * _TYPICAL_SHARE))
