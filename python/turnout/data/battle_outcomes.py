"""Outcomes of battles as artifacts store them, and which prompts are learned from."""

from __future__ import annotations

#: Prompts of fewer characters (code points, blanks at both ends left out) are not learned from.
MIN_CHARACTERS = 16
#: Outcomes of a battle as artifacts store them.
A_WINS, B_WINS, TIE = 0, 1, 2


def long_enough(prompt: str) -> bool:
    """Whether a prompt is learned from.

    Example:
        >>> long_enough("  sixteen letters "), long_enough("sixteen letters!")
        (False, True)
    """
    return len(prompt.strip()) >= MIN_CHARACTERS
