"""Battles from a judge model: both models answer, the judge compares the answers in both orders.

A judge prefers an answer by its position, first or second ("Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", arXiv 2306.05685, section 3.3). So each pair of
answers is judged twice with the positions exchanged; the winner of both verdicts wins, everything else is a tie.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from turnout._core import InferenceError
from turnout.augment.answer import Answer, Fault
from turnout.augment.chat_client import ChatClient, OverBudgetError, RefusedError
from turnout.augment.endpoint import Endpoint
from turnout.data import Battles
from turnout.outcomes.comparison import question, read_verdict

#: Called with the number of prompts done, of all prompts, and the dollars spent.
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class JudgeOptions:
    """The models that answer and the one that judges.

    Attributes:
        strong: Becomes model a.
        weak: Becomes model b.
        judge: Compares.
    """

    strong: Endpoint
    weak: Endpoint
    judge: Endpoint


@dataclass
class Summary:
    """Results of a run, by prompt.

    Attributes:
        prompts: All of them.
        undecided: Prompts on which a complete answer of the judge has no verdict; they give no battle.
        faults: Prompts with an answer, or an answer of the judge, that cannot be used; they give no battle.
        failed: One message for each prompt whose requests failed.
        unpaid: Prompts for which the budget was too small.
        unasked: Prompts that were not started because a model refused a request in a way that holds for every request.
        dollars: Spent over all runs of the ledger.
    """

    prompts: int
    undecided: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    unpaid: int = 0
    unasked: int = 0
    dollars: float = 0.0


def combined(strong_first: str, strong_second: str) -> float:
    """Outcome for the strong model from two verdicts: 1 or 0 where both name the same model, else 0.5.

    Example:
        >>> combined("first", "second"), combined("second", "first"), combined("first", "first"), combined("first", "tie")
        (1.0, 0.0, 0.5, 0.5)
    """
    if (strong_first, strong_second) == ("first", "second"):
        return 1.0
    return 0.0 if (strong_first, strong_second) == ("second", "first") else 0.5


async def judge_battles(
    client: ChatClient, options: JudgeOptions, prompts: Sequence[str], progress: Progress | None = None
) -> tuple[Battles, Summary]:
    """Answers and verdicts for prompts.

    Every answer is in the client's ledger as soon as it arrives: after a crash, an interrupt or an exhausted budget the same call continues
    where it stopped, and repeats only requests that were in flight. A prompt that fails does not stop the others, unless a model
    that has not answered yet refuses the key or does not exist: then no further prompt is started.

    Args:
        client: Sends the requests.
        options: The models.
        prompts: The prompts; equal ones are sent once.
        progress: Called after each prompt.

    Returns:
        Battles in the order of the prompts, and counts of the others.
    """
    prompts = list(dict.fromkeys(prompts))
    summary = Summary(len(prompts))
    outcomes: dict[str, float] = {}
    done = 0
    waiting = iter(prompts)

    async def work() -> None:
        nonlocal done
        for prompt in waiting:
            try:
                verdicts = await _verdicts(client, options, prompt)
                if isinstance(verdicts, Fault):
                    summary.faults[verdicts] += 1
                elif None in verdicts:
                    summary.undecided += 1
                else:
                    outcomes[prompt] = combined(str(verdicts[0]), str(verdicts[1]))
            except OverBudgetError:
                summary.unpaid += 1
            except InferenceError as error:
                summary.failed.append(str(error))
                if isinstance(error, RefusedError):
                    summary.unasked += sum(1 for _ in waiting)
            done += 1
            if progress:
                progress(done, len(prompts), client.budget.spent)

    # As many workers as requests may be in flight, rather than a task for every row of a large file.
    workers = [asyncio.ensure_future(work()) for _ in range(min(len(prompts), client.concurrency))]
    try:
        await asyncio.gather(*workers)
    finally:
        # If one fails, nothing more is sent, and requests in flight are settled before the caller continues.
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    judged = [prompt for prompt in prompts if prompt in outcomes]
    summary.dollars = client.budget.spent
    battles = Battles(
        judged,
        [options.strong.model] * len(judged),
        [options.weak.model] * len(judged),
        np.array([outcomes[prompt] for prompt in judged], dtype=np.float64),
    )
    return battles, summary


async def _verdicts(client: ChatClient, options: JudgeOptions, prompt: str) -> list[str | None] | Fault:
    answers = await _both(client.ask(options.strong, prompt), client.ask(options.weak, prompt))
    if fault := _first_fault(answers):
        return fault
    strong, weak = (answer.text for answer in answers)
    if strong == weak:
        return ["tie", "tie"]
    questions = [question(prompt, strong, weak), question(prompt, weak, strong)]
    answers = await _both(*(client.ask(options.judge, text) for text in questions))
    return _first_fault(answers) or [read_verdict(answer.text) for answer in answers]


def _first_fault(answers: Sequence[Answer]) -> Fault | None:
    return next((answer.fault for answer in answers if answer.fault), None)


async def _both(*requests: Awaitable[Answer]) -> list[Answer]:
    """The answers; if one fails, the others are awaited first, so that their costs are in the ledger."""
    answers = []
    for found in await asyncio.gather(*requests, return_exceptions=True):
        if isinstance(found, BaseException):
            raise found
        answers.append(found)
    return answers
