"""Transcripts of agents at work, in the public formats of each dialect, written for this purpose and the same on every run.

A transcript is a list of requests: after each step the agent sends its whole conversation again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TASKS = (
    "Fix the flaky test in tests/test_queue.py.",
    "Why does the import take two seconds? Make it faster.",
    "Rename the option --out to --output and keep the old spelling.",
    "Prove that the cache cannot grow without bound, and add a test.",
    "Port the parser from regular expressions to a hand-written lexer.",
    "Write the changelog of the last ten commits.",
)
APPROVALS = ("yes", "Go on.", "2", "approved", "Yes, please proceed.", "lgtm")
ERROR = "Traceback (most recent call last):\nAssertionError: expected 3, found 4\n1 failed in {:.2f}s\nexit code 1"
#: How the agents of each dialect ask for a summary of a conversation that gets too long.
SUMMARIZE = {
    "chat": '<explicit_instructions type="condense">\nSummarize the conversation.\n</explicit_instructions>',
    "messages": "Your task is to create a detailed summary of the conversation so far, with all requests of the user.",
    "responses": "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary for another LLM.",
}
SUMMARY = "This session is being continued from a previous conversation that ran out of context. The user asked: {}"
HANDOFF = "Another language model started to solve this problem and produced a summary of its work. The user asked: {}"
REMINDER = "<system-reminder>Follow CLAUDE.md.</system-reminder>"
TOOLS = ("read_file", "search", "run_tests", "edit_file")


@dataclass(frozen=True)
class Request:
    """One request of an agent."""

    body: dict[str, Any]
    #: Number of the user's turn, from 0.
    turn: int
    #: Number of the step within it, from 0; a compaction is asked for within one.
    step: int


@dataclass
class Writer:
    """Writes a conversation in one dialect."""

    dialect: str
    session: str
    items: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0

    def user(self, text: str) -> None:
        """Words of the user, with what the agents of the dialect put around them."""
        if self.dialect == "messages":
            self._blocks(REMINDER, text)
        elif self.dialect == "responses":
            if not self.items:
                self._said("user", "<environment_context><cwd>/repo</cwd></environment_context>")
            self._said("user", text)
        else:
            details = "<environment_details>\n# Open tabs\nqueue.py\n</environment_details>"
            self.items.append({"role": "user", "content": f"<task>\n{text}\n</task>\n{details}"})

    def assistant(self, text: str) -> None:
        """The answer that ends a turn."""
        if self.dialect == "responses":
            self._said("assistant", text)
        else:
            self.items.append({"role": "assistant", "content": text})

    def step(self, tool: str, result: str, is_error: bool) -> None:
        """A call of a tool and its result."""
        self.calls += 1
        name = f"call_{self.calls}"
        if self.dialect == "messages":
            use = {"type": "tool_use", "id": name, "name": tool, "input": {"path": "queue.py"}}
            thought = {"type": "thinking", "thinking": "Next.", "signature": "Eq=="}
            self.items.append({"role": "assistant", "content": [thought, use]})
            found = {"type": "tool_result", "tool_use_id": name, "content": result, "is_error": is_error}
            todo = {"type": "text", "text": "<system-reminder>The todo list is empty.</system-reminder>"}
            self.items.append({"role": "user", "content": [found, todo] if self.calls % 3 == 0 else [found]})
        elif self.dialect == "responses":
            self.items.append({"type": "reasoning", "summary": [], "encrypted_content": "gAAA="})
            self.items.append({"type": "function_call", "call_id": name, "name": tool, "arguments": "{}"})
            self.items.append({"type": "function_call_output", "call_id": name, "output": result})
        else:
            call = {"id": name, "type": "function", "function": {"name": tool, "arguments": "{}"}}
            self.items.append({"role": "assistant", "content": None, "tool_calls": [call]})
            self.items.append({"role": "tool", "tool_call_id": name, "content": result})

    def ask_for_summary(self) -> None:
        """What an agent adds before a compaction."""
        text = SUMMARIZE[self.dialect]
        if self.dialect == "responses":
            self._said("user", text)
        else:
            self.items.append({"role": "user", "content": text})

    def compact(self, task: str) -> None:
        """The conversation begins anew with a summary; Codex keeps what the user said before it."""
        self.items = []
        if self.dialect == "responses":
            self.user(task)
            self._said("user", HANDOFF.format(task))
        elif self.dialect == "messages":
            self._blocks(REMINDER, SUMMARY.format(task))
        else:
            self.items.append({"role": "user", "content": SUMMARY.format(task)})

    def body(self, model: str) -> dict[str, Any]:
        """The request."""
        items = json.loads(json.dumps(self.items))
        if self.dialect == "messages":
            metadata = {"user_id": f"user_1_session_{self.session}"}
            return {"model": model, "max_tokens": 8000, "messages": items, "metadata": metadata}
        if self.dialect == "responses":
            return {"model": model, "input": items, "store": False, "prompt_cache_key": self.session}
        return {"model": model, "messages": items, "prompt_cache_key": self.session}

    def _blocks(self, *texts: str) -> None:
        self.items.append({"role": "user", "content": [{"type": "text", "text": text} for text in texts]})

    def _said(self, role: str, text: str) -> None:
        kind = "output_text" if role == "assistant" else "input_text"
        self.items.append({"type": "message", "role": role, "content": [{"type": kind, "text": text}]})


def transcript(dialect: str, number: int, model: str) -> Iterator[Request]:
    """One agent's work: turns of 10 to 60 steps, approvals, failing tools, and compactions.

    Args:
        dialect: ``chat``, ``messages`` or ``responses``.
        number: Which one.
        model: The name that the agent asks for.
    """
    chance = random.Random(f"{dialect} {number}")
    writer = Writer(dialect, f"{dialect}-{number}")
    task = ""
    for turn in range(1 + number % 4):
        is_approval = turn % 2 == 1
        task = task if is_approval else f"{chance.choice(TASKS)} (part {turn + 1})"
        writer.user(chance.choice(APPROVALS) if is_approval else task)
        yield Request(writer.body(model), turn, 0)
        length = chance.randint(10, 60)
        compacts_at = chance.randint(5, length) if number % 3 == 2 else 0
        fails_from = chance.randint(2, length) if number % 3 == 1 else length
        for step in range(1, length):
            tool, result, is_error = chance.choice(TOOLS), f"result {chance.random()}", False
            if fails_from <= step < fails_from + 7:
                # Tests fail, the agent edits, and they fail alike.
                is_error = (step - fails_from) % 2 == 0
                tool, result = (
                    ("run_tests", ERROR.format(step / 7)) if is_error else ("edit_file", "The file was updated.")
                )
            writer.step(tool, result, is_error)
            if step == compacts_at:
                writer.ask_for_summary()
                yield Request(writer.body(model), turn, step)
                writer.compact(task)
            yield Request(writer.body(model), turn, step)
        writer.assistant("Shall I go on?" if chance.random() < 0.5 else "Done.")
