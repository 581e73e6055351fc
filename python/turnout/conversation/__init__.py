"""Which words of a conversation are judged, and what it needs of a model.

- :mod:`~turnout.conversation.messages`: reads the messages of every SDK;
- :mod:`~turnout.conversation.context`: which of them is the prompt;
- :mod:`~turnout.conversation.harness`: which text is an agent's, not the user's;
- :mod:`~turnout.conversation.bare_reply`: replies without content, such as "yes";
- :mod:`~turnout.conversation.needs`: what a request needs of a model beyond text.
"""

from turnout.conversation.context import (
    Context,
    first_words,
    has_answer,
    is_new_turn,
    judged_text,
    prompt_of,
    whole_text,
)
from turnout.conversation.harness import Harness

__all__ = ["Context", "Harness", "first_words", "has_answer", "is_new_turn", "judged_text", "prompt_of", "whole_text"]
