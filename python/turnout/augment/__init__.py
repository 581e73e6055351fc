"""More battles to train on: from tables of correct answers, or from a judge model (extra ``[eval]``).

These are the two augmentations of RouteLLM's paper ("RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665, section 4.1): labels from a benchmark with known answers, and
verdicts of a judge model on answers of the strong and the weak model.
"""

from turnout.augment.answer import Answer, Fault
from turnout.augment.battle_table import write_battles
from turnout.augment.chat_client import ChatClient
from turnout.augment.endpoint import Endpoint, Usage
from turnout.augment.gold import gold_battles
from turnout.augment.judge import JudgeOptions, Progress, Summary, judge_battles
from turnout.augment.ledger import Budget, Ledger, Price

__all__ = [
    "Answer",
    "Budget",
    "ChatClient",
    "Endpoint",
    "Fault",
    "JudgeOptions",
    "Ledger",
    "Price",
    "Progress",
    "Summary",
    "Usage",
    "gold_battles",
    "judge_battles",
    "write_battles",
]
