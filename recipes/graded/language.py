"""A rough guess of a prompt's language from its script and its most frequent words. Good enough to count a sample by."""

import re

SCRIPTS = (
    ("ja", re.compile(r"[぀-ヿ]")),
    ("ko", re.compile(r"[가-힣ᄀ-ᇿ]")),
    ("zh", re.compile(r"[一-鿿]")),
    ("ar", re.compile(r"[؀-ۿ]")),
    ("hi", re.compile(r"[ऀ-ॿ]")),
    ("he", re.compile(r"[֐-׿]")),
    ("th", re.compile(r"[฀-๿]")),
    ("bn", re.compile(r"[ঀ-৿]")),
    ("el", re.compile(r"[Ͱ-Ͽ]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),
    ("ru", re.compile(r"[А-яЁё]")),
)
"""First match wins: kana before Han, the letters that only Ukrainian has before the rest of Cyrillic."""

SCRIPT_SHARE = 0.15
"""A script decides when it holds this share of the letters; a lone Greek symbol in a formula does not."""

WORDS = {
    "en": "the of and to in is that for it with as on are this what how you can write a i my which from be an if not who was why do we our your there are have has does did will would could should they me make write give create whose where when or at by",
    "es": "el la los las de que y en un una es por para con del cómo qué cuál me se lo mi si más sobre como quiero puedes dime hola cuantos cuál escribe lista mejores este",
    "fr": "le les des et est que une du pour dans qui sur je tu vous au avec pas ce quel quelle quels comment moi mon la un de en",
    "de": "der die das und ist ein eine nicht ich zu mit für auf von wie was den dem wir kannst mir es im sind einen warum bitte",
    "pt": "o os as de que e em um uma é para com não do da no na por como qual você me se mais quais sobre faça são ao eu",
    "it": "il lo gli di che e un una è per con non del della come cosa mi sono si le nel dei quali perché puoi",
    "ca": "el els les de que i en un una és per amb del com què quin quina dels als aquest fer més si jo meva em pots dir són quins fes genera m",
    "nl": "de het een en van is niet ik dat op te met voor wat hoe je zijn aan kan waarom mijn",
    "pl": "i w na z się nie do jest to że jak co czy po dla jakie który mi są od",
    "sv": "och att det en är som på för inte jag med hur vad ett av den till kan om",
    "da": "og at det en er som på for ikke jeg med hvordan hvad et af den til kan om hvis",
    "hu": "a az és egy hogy nem is mi van meg el ez azt miért hogyan kell milyen hol tudok",
    "vi": "là của và có cho một không được trong với những các tôi bạn như thế nào gì hãy",
    "eu": "eta da bat ez zer nola du dira egin izan duen dago zein zenbat ditu nire baina",
    "tr": "bir ve bu için ne mi nasıl ile da de olarak nedir çok ben bana var en",
    "id": "yang dan di untuk dengan apa ini adalah dari saya bagaimana tidak itu dalam bisa",
    "ro": "și în de la un o care este nu cu pe ce din cum mai pentru să sunt",
    "cs": "a je se na v že to jak co s z pro jsem není do jaký kde",
    "fi": "ja on ei se että mitä miten kuin mikä ovat voi olla minun tai",
}
STOP_WORDS = {language: frozenset(words.split()) for language, words in WORDS.items()}


def language(prompt: str) -> str:
    """Guess the language of `prompt` as an ISO 639-1 code; English where nothing says otherwise.

    >>> language("¿Cómo puedo dormir mejor?"), language("def f(x): return x"), language("空は何色？"), language("空は blue?")
    ('es', 'en', 'ja', 'ja')
    """
    letters = sum(character.isalpha() for character in prompt)
    for code, script in SCRIPTS:
        found = len(script.findall(prompt))
        if code in {"ja", "uk"} and found and letters:
            family = r"[぀-ヿ一-鿿]" if code == "ja" else r"[Ѐ-ӿ]"
            found = len(re.findall(family, prompt)) if found >= 0.02 * letters else 0
        if found and found >= SCRIPT_SHARE * letters:
            return code
    words = re.findall(r"[^\W\d_]+", prompt.lower())
    hits = {code: sum(word in stop for word in words) for code, stop in STOP_WORDS.items()}
    best = max(hits, key=lambda code: hits[code])
    return best if hits[best] > hits["en"] else "en"
