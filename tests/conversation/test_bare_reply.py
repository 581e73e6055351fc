"""Replies without content: what they are judged with, and that case and punctuation change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from turnout import Controller, load
from turnout.conversation import judged_text, prompt_of
from turnout.conversation.bare_replies import BARE_REPLIES
from turnout.conversation.bare_reply import canonical_reply
from turnout.conversation.context import LOOK_BACK

HARD = "Prove rigorously that there are infinitely many primes of the form 4k + 3."

#: Yes, ok, bye, go on, thanks and why in each language.
BARE = {
    "en": ["yes", "ok", "goodbye", "go on", "continue", "thanks", "why"],
    "es": ["sí", "vale", "adiós", "sigue", "gracias", "por qué"],
    "fr": ["oui", "d'accord", "au revoir", "continue", "merci", "pourquoi"],
    "de": ["ja", "in Ordnung", "tschüss", "weiter", "danke", "warum"],
    "pt": ["sim", "tudo bem", "tchau", "continue", "obrigado", "por quê"],
    "it": ["sì", "va bene", "arrivederci", "continua", "grazie", "perché"],
    "ru": ["да", "хорошо", "до свидания", "продолжай", "спасибо", "почему"],
    "ar": ["نعم", "حسنًا", "مع السلامة", "استمر", "شكرًا", "لماذا"],
    "hi": ["हाँ", "ठीक है", "अलविदा", "जारी रखें", "धन्यवाद", "क्यों"],
    "zh": ["是的", "好的", "再见", "继续", "谢谢", "为什么"],
    "ja": ["はい", "わかりました", "さようなら", "続けて", "ありがとう", "なぜ"],
    "ko": ["네", "알겠습니다", "안녕히 계세요", "계속해 주세요", "감사합니다", "왜요"],
}
EVERYWHERE = [
    "2",
    "2.",
    "#3",
    "b)",
    "option 2",
    "Option b.",
    "Let's go with option 2",
    "Sounds good to me!",
    "Yes, and don't ask again",
    "Continue from where you left off.",
    "?",
    "👍",
    "2️⃣",
    "...",
    "OK, thanks!",
    "yes please, go on",
    "Thanks - bye!",
    "好的，谢谢！",
]

WITH_CONTENT = [
    "What is 2 + 2?", "2+2", "2024", "Yes, and prove it for 4k + 1 too", "yes but in French", "Paris", "Why is the sky blue?",
    "Continue the story with a dragon", "Translate it", "no, use Rust", "为什么天空是蓝色的", "なぜ空は青いの", "왜 하늘은 파란가요",
    "Почему небо голубое?", "لماذا السماء زرقاء؟", "आसमान नीला क्यों है?", "猫", "def f(): pass", "x" * 65, "1 2", "okay google", "\ud800",
]  # fmt: skip


def follow_up(text: str, turns_back: int = 1) -> list[dict[str, Any]]:
    between = [{"role": "user", "content": "ok"}, {"role": "assistant", "content": "And?"}] * (turns_back - 1)
    asked = [{"role": "user", "content": HARD}, {"role": "assistant", "content": "Shall I go on?"}]
    return [*asked, *between, {"role": "user", "content": text}]


def spellings(text: str) -> list[str]:
    return [text, text.upper(), text.title(), text + "!", f"  {text}... ", f"“{text}”", text + "？"]


@pytest.mark.parametrize("language", BARE)
def test_a_bare_reply_is_judged_as_the_message_that_it_answers(language: str) -> None:
    for text in BARE[language]:
        assert canonical_reply(text) is not None, text
        for spelling in spellings(text):
            assert prompt_of(follow_up(spelling)) == HARD, spelling


@pytest.mark.parametrize("text", EVERYWHERE)
def test_numbers_letters_symbols_and_several_phrases_are_bare(text: str) -> None:
    assert prompt_of(follow_up(text)) == HARD


@pytest.mark.parametrize("text", WITH_CONTENT)
def test_replies_with_content_are_judged_by_themselves(text: str) -> None:
    assert prompt_of(follow_up(text)) == text
    assert judged_text(text) == text


@pytest.mark.parametrize("language", BARE_REPLIES)
def test_every_phrase_is_found_in_every_spelling(language: str) -> None:
    for phrase in " ".join(BARE_REPLIES[language].split()).split(", "):
        for spelling in spellings(phrase):
            assert canonical_reply(spelling) is not None, (phrase, spelling)


@pytest.mark.parametrize("language", BARE)
def test_a_first_bare_reply_is_judged_in_one_form_whatever_its_spelling(language: str) -> None:
    for text in BARE[language]:
        forms = {
            prompt_of([{"role": "user", "content": one}])
            for one in spellings(text)
            if one.lower() == text.lower() or one.isascii()
        }
        assert len(forms) == 1, forms
        assert forms == {judged_text(text + "!")}
    assert prompt_of([{"role": "user", "content": "Hello!"}]) == "hello"


def test_bare_replies_in_a_row_are_looked_through_up_to_a_limit() -> None:
    assert prompt_of(follow_up("yes", LOOK_BACK - 1)) == HARD
    assert prompt_of(follow_up("Yes!", LOOK_BACK)) == "yes"


def test_the_router_and_the_controller_score_one_form() -> None:
    router = load()
    rates = {
        router.win_rate(prompt_of([{"role": "user", "content": text}])) for text in ("yes", "Yes!", "YES.", " yes… ")
    }
    assert rates == {router.win_rate("yes")}
    client = Controller(["mf"], "big", "small")
    found = client.batch_calculate_win_rate(["yes", "Yes!", "YES.", HARD], "mf").tolist()
    assert found == [*[router.win_rate("yes")] * 3, router.win_rate(HARD)]
    assert client.route("Yes!", "mf", router.win_rate("yes")) == "big"
    assert client.route("YES.", "mf", router.win_rate("yes") + 1e-6) == "small"
