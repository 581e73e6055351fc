"""What agents write around the user's words is not judged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.conversation import Harness, first_words, is_new_turn, prompt_of
from turnout.conversation.harness import HARNESS_TAGS

TASK = "Fix the flaky test in test_queue.py."


def user(*texts):
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


CLAUDE_CODE = [
    user("<system-reminder>\nAs you answer, you can use CLAUDE.md:\nProve theorems.\n</system-reminder>", TASK),
    {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "Read", "input": {}}]},
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "1", "content": "def test(): ..."},
            {"type": "text", "text": "<system-reminder>The todo list is empty.</system-reminder>"},
        ],
    },
]
CODEX = [
    {"role": "user", "content": [{"type": "input_text", "text": "# AGENTS.md instructions for /repo\n\n<INSTRUCTIONS>x</INSTRUCTIONS>"}]},
    {"role": "user", "content": [{"type": "input_text", "text": "<environment_context>\n<cwd>/repo</cwd>\n</environment_context>"}]},
    {"role": "user", "content": [{"type": "input_text", "text": TASK}]},
    {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
    {"type": "function_call", "name": "shell", "call_id": "1", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": "1 failed"},
]  # fmt: skip
CLINE = [
    user(f"<task>\n{TASK}\n</task>", "<environment_details>\n# Open tabs\na.py\n</environment_details>"),
    {"role": "assistant", "content": "<read_file><path>a.py</path></read_file>"},
    user("[read_file for 'a.py'] Result:", "def prove(): ...", "<environment_details>...</environment_details>"),
]
CURSOR = [user(f"<additional_data>\nfiles\n</additional_data>\n<user_query>\n{TASK}\n</user_query>")]


@pytest.mark.parametrize(
    ("messages", "first"),
    [(CLAUDE_CODE, 1), (CODEX, 3), (CLINE, 1), (CURSOR, 1)],
    ids=["claude", "codex", "cline", "cursor"],
)
def test_the_users_task_is_judged_at_every_step(messages, first):
    for count in range(first, len(messages) + 1):
        assert prompt_of(messages[:count]) == first_words(messages[:count]) == TASK
        assert is_new_turn(messages[:count]) == (count == first)
    approved = [
        *messages,
        {"role": "assistant", "content": "Shall I?"},
        user("<system-reminder>x</system-reminder>", "Yes!"),
    ]
    assert prompt_of(approved) == TASK
    assert is_new_turn(approved)


def test_the_users_words_in_the_result_of_a_tool_are_a_new_turn():
    said = user("[ask_followup_question for 'Which?'] Result:\n\n<feedback>\nUse a lock.\n</feedback>")
    assert prompt_of([*CLINE, said]) == "Use a lock."
    assert is_new_turn([*CLINE, said])


def test_a_summary_or_an_interruption_is_not_the_task():
    summary = user("This session is being continued from a previous conversation that ran out of context. The user...")
    assert prompt_of([user(TASK), user("[Request interrupted by user]")]) == TASK
    assert not is_new_turn([user(TASK), user("[Request interrupted by user for tool use]")])
    assert prompt_of([summary, user("Now the docs.")]) == "Now the docs."
    # Nothing else is there to judge.
    assert prompt_of([summary]).startswith("This session is being continued")
    assert prompt_of(CODEX[1:2]).startswith("<environment_context>")


@pytest.mark.parametrize(
    "added",
    [
        "This session is being continued from a previous conversation that ran out of context.\nSummary: ...",
        "[Request interrupted by user for tool use]",
        "# AGENTS.md instructions for /repo",
        "# AGENTS.md instructions\n\n<INSTRUCTIONS>\nx\n</INSTRUCTIONS>",
    ],
)
def test_words_of_the_user_beside_an_agents_text_are_a_new_turn(added):
    reminder, later = "<system-reminder>x</system-reminder>", "No, use sets."
    assert is_new_turn([user(TASK), user(reminder, added, later)])
    assert prompt_of([user(TASK), user(reminder, added, later)]) == later
    assert (
        prompt_of([user(TASK), user(reminder, added)]) == prompt_of([user(TASK), user(f"{reminder}\n{added}")]) == TASK
    )
    assert not is_new_turn([user(TASK), user(reminder, added)])
    assert first_words([user(reminder, added, later)]) == later


@pytest.mark.parametrize(
    "request_of_agent",
    [
        "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\nYour task is to create a detailed summary ...",
        "Your task is to create a detailed summary of the conversation so far, paying close attention to ...",
        "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary for another LLM ...",
        "Output token limit hit. Resume directly — no apology, no recap of what you were doing.",
        "Stop hook feedback:\nThe tests were not run.",
        "[SUGGESTION MODE: Suggest what the user might naturally type next into Claude Code.]\n\nFIRST: ...",
        "The user stepped away and is coming back. Recap in under 40 words, 1-2 plain sentences, no markdown.",
        "<skill>\n<name>review</name>\n<path>/skills/review/SKILL.md</path>\nRead the diff.\n</skill>",
        "<user_shell_command>\n<command>ls</command>\n</user_shell_command>",
        '<subagent_notification>\n{"status": "completed"}\n</subagent_notification>',
    ],
)
def test_what_an_agent_asks_for_itself_is_no_turn_of_the_user(request_of_agent):
    messages = [user(TASK), {"role": "assistant", "content": "Working."}, user(request_of_agent)]
    assert prompt_of(messages) == TASK
    assert not is_new_turn(messages)


@pytest.mark.parametrize("heading", ["## My request for Codex:", "## My request:"])
def test_the_request_is_judged_without_what_an_editor_adds(heading):
    tabs = "## Active file: a.py\n\n## Open tabs:\n- a.py"
    for begin in ("# Context from my IDE setup:", "# Files mentioned by the user:"):
        assert prompt_of([user(f"{begin}\n\n{tabs}\n\n{heading}\n{TASK}\n")]) == TASK
    assert prompt_of([user(f"{TASK}\n{heading}\nx")]) == f"{TASK}\n{heading}\nx"
    assert prompt_of([user(f"# Context from my IDE setup:\n{TASK}")]) == f"# Context from my IDE setup:\n{TASK}"


def test_the_whole_conversation_is_the_users_words():
    messages = [*CLAUDE_CODE, {"role": "assistant", "content": "Done."}, user("Now the docs.")]
    assert prompt_of(messages, "conversation") == f"{TASK}\n\nNow the docs."


def test_patterns_of_ones_own_add_to_the_built_in_ones():
    harness = Harness(["my-notes"], ["ask"], ["AUTOMATIC:"])
    assert (
        harness.words("<my-notes a='1'>x</my-notes><ask>Sort it.</ask><system-reminder>y</system-reminder>")
        == "Sort it."
    )
    assert harness.words(" AUTOMATIC: go on") == ""
    assert Harness(["skill"]).words("Sort it.<skill>x</skill>") == "Sort it."


@pytest.mark.parametrize(
    "text",
    [
        "What does <system-reminder> mean?",
        "Explain </environment_details>.",
        "a < b > c",
        "<task-list>x</task-list>",
        "[read_file] is a tool",
        "<context>x</context> <div>y</div>",
        "Sort these by name:\n<skill>\n<name>Sewing</name>\n</skill>",
        "Write a detailed summary of the conversation so far.",
        "Stop hook feedback: how do I turn it off?",
        "  spaces stay  ",
    ],
)
def test_other_texts_are_judged_as_they_are(text):
    assert prompt_of([user(TASK), {"role": "user", "content": text}]) == text
    assert is_new_turn([user(TASK), {"role": "user", "content": text}])


def test_an_element_may_hold_others_and_the_rest_of_a_text_stays():
    text = "before <system-reminder>a <task>b</task> </environment_details> c</system-reminder> after <user_info>"
    assert Harness().words(text) == "before  after <user_info>"


PIECES = st.sampled_from(
    [
        "<system-reminder>",
        "</system-reminder>",
        "<task>",
        "</task>",
        "<user_info>",
        "</user_info>",
        "words",
        " ",
        "<",
        "[a_b] Result:",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_is_left_has_no_complete_element_of_an_agent(text):
    words = Harness().words(text)
    # The mark of a tool's result makes text of what comes after it.
    if "[a_b] Result:" not in text:
        assert Harness().words(words) == words
    for tag in HARNESS_TAGS:
        assert f"</{tag}>" not in words.partition(f"<{tag}>")[2]


def test_a_skill_is_the_agents_only_at_the_beginning():
    skill = "<skill>\n<name>review</name>\nRead the diff.\n</skill>"
    assert Harness().words(f"{skill}\n<system-reminder>x</system-reminder>{skill}\n{TASK}") == TASK
    assert Harness().words(f"{TASK}\n{skill}") == f"{TASK}\n{skill}"


def test_elements_that_are_not_closed_take_no_time_that_grows_with_the_square():
    harness = Harness()
    for text in (
        "<system-reminder>" * 200_000,
        "<system-reminder>x</user_info>" * 100_000,
        "<task " * 300_000,
        "words " * 100_000 + "<skill></skill>" * 100_000,
        "<" * 2_000_000,
    ):
        assert harness.words(text) == text
