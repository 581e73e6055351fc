"""Reads prompts, outcomes and battles from files, a chunk at a time (extra ``[data]``).

Nothing is dropped in silence: a row that cannot be used goes to a :class:`BadRows` with its file, its row and the reason.
"""

from turnout.data.aliases import ModelAliases
from turnout.data.bad_rows import BadRow, BadRows
from turnout.data.battles import Battles, iter_battles, outcomes_of_pair, read_battles
from turnout.data.chunks import Chunk, read_chunks
from turnout.data.outcomes import Outcomes, iter_outcomes, read_outcomes
from turnout.data.prompts import iter_prompts
from turnout.data.routellm import read_routellm_benchmark

__all__ = [
    "BadRow",
    "BadRows",
    "Battles",
    "Chunk",
    "ModelAliases",
    "Outcomes",
    "iter_battles",
    "iter_outcomes",
    "iter_prompts",
    "outcomes_of_pair",
    "read_battles",
    "read_chunks",
    "read_outcomes",
    "read_routellm_benchmark",
]
