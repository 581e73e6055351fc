"""Prices of the models in the tables, dollars per million tokens: list prices where there are any, else by the number of parameters.

List prices are those of the providers as LiteLLM 1.108's `model_prices_and_context_window.json` (MIT) has them, of models that it no
longer has those of RouterBench (arXiv 2403.12031, table 6) and of the providers' announcements. Prices by size are Together's, as the same file has
them for open models. Models without either are left out of pools.
"""

from __future__ import annotations

import re

#: Input and output.
LIST: dict[str, tuple[float, float]] = {
    "gpt-4": (30, 60),
    "gpt-4-0314": (30, 60),
    "gpt-4-0613": (30, 60),
    "gpt-4-1106-preview": (10, 30),
    "gpt-4-0125-preview": (10, 30),
    "gpt-4-turbo": (10, 30),
    "gpt-4o": (2.5, 10),
    "gpt-4o-2024-05-13": (5, 15),
    "gpt-4o-2024-08-06": (2.5, 10),
    "gpt-4o-mini-2024-07-18": (0.15, 0.6),
    "gpt-3.5-turbo": (0.5, 1.5),
    "gpt-3.5-turbo-0301": (1.5, 2),
    "gpt-3.5-turbo-0613": (1.5, 2),
    "gpt-3.5-turbo-1106": (1, 2),
    "gpt-3.5-turbo-0125": (0.5, 1.5),
    "gpt-3.5-turbo-16k": (3, 4),
    "gpt-3.5-turbo-16k-0613": (3, 4),
    "text-davinci-003": (20, 20),
    "o3-mini": (1.1, 4.4),
    "claude-1": (8, 24),
    "claude-2.0": (8, 24),
    "claude-instant-1": (0.8, 2.4),
    "claude-3-5-sonnet-20240620": (3, 15),
    "claude-3.5-sonnet": (3, 15),
    "claude-sonnet-4": (3, 15),
    "gemini-pro": (0.5, 1.5),
    "gemini-1.5-pro": (3.5, 10.5),
    "gemini-1.5-flash": (0.35, 1.05),
    "gemini-1.5-pro-002": (1.25, 5),
    "gemini-1.5-flash-002": (0.075, 0.3),
    "jamba-1.5-large": (2, 8),
    "grok-3-mini-beta": (0.3, 0.5),
    "deepseek-chat-v2": (0.14, 0.28),
    "deepseek-v2-chat-0628": (0.14, 0.28),
    "deepseek-v2.5": (0.14, 0.28),
    "deepseek-coder-v2": (0.14, 0.28),
    "deepseek-r1": (0.55, 2.19),
    "yi-large": (3, 3),
    "mistral-medium": (2.7, 8.1),
    "mistral-large-instruct-2407": (3, 9),
    "codestral-22b-v0.1": (1, 3),
    "c4ai-command-r-v01": (0.5, 1.5),
    "c4ai-command-r-08-2024": (0.15, 0.6),
    "c4ai-command-r-plus-08-2024": (2.5, 10),
    "llama-4-maverick": (0.27, 0.85),
    "llama-4-scout": (0.18, 0.59),
    "phi-3.5-moe-instruct": (0.16, 0.64),
    "meta-llama-3.1-405b-instruct": (3.5, 3.5),
    "mixtral-8x7b-instruct-v0.1": (0.6, 0.6),
    "mixtral-8x7b-v0.1": (0.6, 0.6),
    "nous-hermes-2-mixtral-8x7b-sft-gguf": (0.6, 0.6),
    "phi-2": (0.1, 0.1),
    "phi-2-dpo": (0.1, 0.1),
    "phi-2-orange": (0.1, 0.1),
    "phi-2-psy": (0.1, 0.1),
    "phi-3-mini-4k-instruct": (0.1, 0.1),
    "phi-3.5-mini-instruct": (0.1, 0.1),
}
#: Upper end in billions of parameters, and price of input and output.
BY_SIZE = ((4.0, 0.1), (8.0, 0.2), (21.0, 0.3), (41.0, 0.8), (80.0, 0.9), (110.0, 1.8))
_SIZE = re.compile(r"(?<![\dx.])(\d+(?:[._]\d+)?)b(?![a-z])")


def price(model: str) -> tuple[float, float] | None:
    """Prices of input and output tokens, dollars per million; ``None`` where none is known.

    Example:
        >>> price("gpt-4-turbo"), price("llama-2-70b-chat-hf"), price("secret")
        ((10, 30), (0.9, 0.9), None)
    """
    if model in LIST:
        return LIST[model]
    found = _SIZE.search(model)
    if found is None:
        return None
    size = float(found[1].replace("_", "."))
    return next(((cost, cost) for limit, cost in BY_SIZE if size <= limit), None)
