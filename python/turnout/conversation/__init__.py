"""Which words of a conversation are judged.

- :mod:`~turnout.conversation.messages`: reads the messages of every SDK;
- :mod:`~turnout.conversation.context`: which of them is the prompt;
- :mod:`~turnout.conversation.bare_reply`: replies without content, such as "yes".
"""

from turnout.conversation.context import Context, judged_text, prompt_of

__all__ = ["Context", "judged_text", "prompt_of"]
