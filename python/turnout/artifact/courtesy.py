"""Greetings, polite words and labels at the ends of a prompt, which a router does not read; the core applies the same rule."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Phrases by language. From the beginning of a prompt, a run of openings and fillers is not read, up to its last opening; from the end
#: likewise, down to the first closing. Fillers alone are read, and so is a prompt of nothing else.
_PHRASES: Mapping[str, Mapping[str, str]] = {
    "marks": {
        "openings": ": . ! ? , ; \" ' ` * # > “ ” „ « » ， 。 ： ！ ？ 、 ، ؟ ¿ ¡ ।",
        "closings": '" ` * “ ” » « . , ; ! ， 。 ！ 、 ، । ---',
        "closing_fillers": "? ？ ؟",
    },
    "English": {
        "openings": "please|pls|plz|kindly|hi|hello|hey|hi there|hello there|good morning|good afternoon|good evening|greetings|"
        "can you|could you|would you|will you|can u|could u|i need you to|i want you to|i would like you to|i'd like you to|"
        "thank you|thanks|thanks in advance",
        "opening_fillers": "i a an the me my with this that these following for to of in would be will am have help quick question "
        "questions task prompt problem request instruction input query q here just so and grateful appreciate your you are helpful "
        "assistant ai expert world class wondering if need want some assistance kind one friend all everyone answer please - ' d m ve re",
        "closings": "thanks|thank you|thank u|thx|tks|cheers|please|pls|plz|answer:|response:|output:|solution:|a:|your answer:|"
        "the answer:|kind regards|best regards|regards|many thanks|thanks in advance|thank you in advance",
        "closing_fillers": "so much very a lot in advance again for your help you and all any it is appreciated best as well can answer "
        "time kind many the my",
    },
    "Spanish": {
        "openings": "por favor|hola|buenos días|buenas tardes|buenas noches|buenas|puedes|podrías|puede|podría|me puedes|me podrías|"
        "necesito que|necesito que me",
        "opening_fillers": "me ayudar ayudarme ayudes con esto a lo siguiente responder una pregunta tengo la el mi",
        "closings": "gracias|muchas gracias|mil gracias|por favor|saludos|respuesta:",
        "closing_fillers": "de antemano por tu su ayuda adelantado la",
    },
    "French": {
        "openings": "s'il vous plaît|s'il te plaît|bonjour|salut|bonsoir|pouvez-vous|peux-tu|pourriez-vous|pourrais-tu|veuillez|"
        "tu peux|vous pouvez|est-ce que tu peux|est-ce que vous pouvez",
        "opening_fillers": "m ' aider moi me avec ceci cela répondre à la question suivante j ai une",
        "closings": "merci|merci beaucoup|merci d'avance|s'il vous plaît|s'il te plaît|svp|stp|réponse:|réponse :|cordialement",
        "closing_fillers": "d ' avance pour votre ton aide beaucoup bien",
    },
    "German": {
        "openings": "bitte|hallo|guten tag|guten morgen|guten abend|kannst du|können sie|könnten sie|könntest du|würdest du|würden sie",
        "opening_fillers": "mir bitte dabei damit helfen hier bei folgender folgende der die das frage beantworten ich habe eine kurz kurze mal",
        "closings": "danke|vielen dank|danke schön|danke sehr|besten dank|bitte|antwort:|liebe grüße|viele grüße",
        "closing_fillers": "im voraus für die deine ihre hilfe schon mal sehr",
    },
    "Portuguese": {
        "openings": "por favor|olá|oi|bom dia|boa tarde|boa noite|você pode|você poderia|pode|poderia|preciso que você",
        "opening_fillers": "me ajudar com isto isso a o responder seguinte uma pergunta tenho",
        "closings": "obrigado|obrigada|muito obrigado|muito obrigada|por favor|valeu|resposta:",
        "closing_fillers": "desde já pela ajuda antecipadamente sua",
    },
    "Russian": {
        "openings": "пожалуйста|здравствуйте|привет|добрый день|добрый вечер|можете|можешь|не могли бы вы|не мог бы ты|помогите|помоги",
        "opening_fillers": "мне вы ты с этим ответить на следующий вопрос у меня есть",
        "closings": "спасибо|большое спасибо|спасибо большое|заранее спасибо|пожалуйста|благодарю|ответ:",
        "closing_fillers": "большое заранее за помощь вам",
    },
    "Chinese": {
        "openings": "请|请问|请你|请您|请帮我|你好|您好|你能|你能不能|能不能|你可以|可以帮我|麻烦|麻烦你|麻烦您|帮我",
        "opening_fillers": "一 下 回 答 我 你 您 吗 以 下 这 个 的 问 题 有 想",
        "closings": "谢谢|多谢|感谢|谢谢你|谢谢您|非常感谢|答案：|回答：|答案:|回答:",
        "closing_fillers": "你 您 的 帮 助 了",
    },
    "Japanese": {
        "openings": "すみません|こんにちは|こんばんは|おはようございます|お願いします|教えてください|質問があります|質問です",
        "opening_fillers": "",
        "closings": "お願いします|よろしくお願いします|お願いいたします|よろしくお願いいたします|ありがとうございます|ありがとう|回答:|答え:",
        "closing_fillers": "",
    },
    "Korean": {
        "openings": "안녕하세요|안녕|죄송하지만|실례합니다|질문이 있습니다|질문이 있어요|부탁드립니다",
        "opening_fillers": "",
        "closings": "감사합니다|고맙습니다|부탁드립니다|부탁해요|고마워|고마워요|답:|답변:",
        "closing_fillers": "미리",
    },
    "Arabic": {
        "openings": "من فضلك|مرحبا|السلام عليكم|لو سمحت|هل يمكنك|هل تستطيع|أهلا|ساعدني",
        "opening_fillers": "في هذا على أن لدي سؤال مساعدتي",
        "closings": "شكرا|شكرا لك|شكرا جزيلا|من فضلك|لو سمحت|الجواب:|الإجابة:",
        "closing_fillers": "على مساعدتك مقدما",
    },
    "Hindi": {
        "openings": "कृपया|नमस्ते|नमस्कार|क्या आप|मेरी मदद करें|मदद करें",
        "opening_fillers": "मेरी इसमें में मेरा एक प्रश्न है सवाल",
        "closings": "धन्यवाद|बहुत धन्यवाद|शुक्रिया|कृपया|उत्तर:|आपका धन्यवाद",
        "closing_fillers": "आपकी मदद के लिए बहुत",
    },
}
_LISTS = ("openings", "opening_fillers", "closings", "closing_fillers")


class Courtesy:
    """The phrases that a tokenizer knows, and the rule for them.

    Args:
        tokenizer: Of the router. Phrases that hold a token which it does not know are left out.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        unknown = json.loads(tokenizer.to_str())["model"].get("unk_token")
        self.spec: dict[str, list[str]] = {}
        ids: dict[str, list[tuple[int, ...]]] = {}
        for name in _LISTS:
            texts = list(dict.fromkeys(text for phrases in _PHRASES.values() for text in _split(phrases.get(name, ""))))
            encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
            known = [
                (text, tuple(encoding.ids))
                for text, encoding in zip(texts, encodings, strict=True)
                if encoding.ids and unknown not in encoding.tokens
            ]
            self.spec[name] = [text for text, _ in known]
            ids[name] = [row for _, row in known]
        self._opening = _by_first(ids["openings"], ids["opening_fillers"])
        backward = [[row[::-1] for row in ids[name]] for name in ("closings", "closing_fillers")]
        self._closing = _by_first(*backward)

    def trim(self, ids: Sequence[int]) -> list[int]:
        """Token ids without phrases at their ends; all of them if they hold nothing else.

        Args:
            ids: Of a prompt, without special tokens.

        Example:
            >>> from tokenizers import Tokenizer
            >>> from turnout.shipped import artifact_folder
            >>> tokenizer = Tokenizer.from_file(str(artifact_folder("mf") / "tokenizer.json"))
            >>> tokenizer.decode(Courtesy(tokenizer).trim(tokenizer.encode("Please help me with this: 2 + 2? Thank you!").ids))
            '2 + 2 ?'
        """
        front, back = _reach(self._opening, ids), _reach(self._closing, ids[::-1])
        return list(ids if front + back >= len(ids) else ids[front : len(ids) - back])


_Phrases = Mapping[int, Sequence[tuple[tuple[int, ...], bool]]]


def _split(texts: str) -> list[str]:
    return [text for text in (texts.split("|") if "|" in texts else texts.split()) if text]


def _by_first(phrases: Sequence[tuple[int, ...]], fillers: Sequence[tuple[int, ...]]) -> _Phrases:
    """Phrases by their first id, longest first, each with whether it is a filler."""
    both = [(row, False) for row in phrases] + [(row, True) for row in fillers]
    found: dict[int, list[tuple[tuple[int, ...], bool]]] = {}
    for row, is_filler in sorted(both, key=lambda phrase: (-len(phrase[0]), phrase[1])):
        found.setdefault(row[0], []).append((row, is_filler))
    return found


def _reach(phrases: _Phrases, ids: Sequence[int]) -> int:
    at = reached = 0
    while at < len(ids):
        for row, is_filler in phrases.get(ids[at], ()):
            if tuple(ids[at : at + len(row)]) == row:
                at += len(row)
                reached = reached if is_filler else at
                break
        else:
            break
    return reached
