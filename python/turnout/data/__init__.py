"""Reads and writes tables, prompts, outcomes and battles: the only reader and the only writer of rows in turnout.

Files are read a chunk at a time, in memory that does not grow with the file. A row that cannot be used is never dropped without a
word: it goes to a :class:`BadRows` with its file, its row and the reason.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnout.data.aliases import ModelAliases
    from turnout.data.bad_rows import BadRow, BadRows
    from turnout.data.battles import Battle, Battles, iter_battles, outcomes_of_pair, parse_battle, read_battles
    from turnout.data.chunks import Chunk, read_chunks
    from turnout.data.outcomes import Outcomes, iter_outcomes, read_outcomes
    from turnout.data.prompts import iter_prompts, read_prompts
    from turnout.data.record import file_record
    from turnout.data.routellm import read_routellm_benchmark
    from turnout.data.writer import open_writer

#: Modules by the names they bring. Imported on first use: the command line needs some of them, and not NumPy.
_MODULES = {
    "aliases": ("ModelAliases",),
    "bad_rows": ("BadRow", "BadRows"),
    "battles": ("Battle", "Battles", "iter_battles", "outcomes_of_pair", "parse_battle", "read_battles"),
    "chunks": ("Chunk", "read_chunks"),
    "outcomes": ("Outcomes", "iter_outcomes", "read_outcomes"),
    "prompts": ("iter_prompts", "read_prompts"),
    "record": ("file_record",),
    "routellm": ("read_routellm_benchmark",),
    "writer": ("open_writer",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BadRow",
    "BadRows",
    "Battle",
    "Battles",
    "Chunk",
    "ModelAliases",
    "Outcomes",
    "file_record",
    "iter_battles",
    "iter_outcomes",
    "iter_prompts",
    "open_writer",
    "outcomes_of_pair",
    "parse_battle",
    "read_battles",
    "read_chunks",
    "read_outcomes",
    "read_prompts",
    "read_routellm_benchmark",
]


def __getattr__(name: str) -> Any:
    """Imports a name on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return found


def __dir__() -> list[str]:
    """Every public name, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
