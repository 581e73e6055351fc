"""Changes of a prompt that leave what it asks for as it is. The student sees prompts with and without them under one label."""

from __future__ import annotations

import random

from turnout.evaluate.perturb import CHANGES

OPENINGS = (
    "Please ",
    "Hi! ",
    "Hello, I have a question: ",
    "Could you help me with this? ",
    "I would appreciate your help with the following. ",
    "You are a helpful assistant. ",
    "You are a world-class expert. ",
    "Question: ",
    "Task: ",
    "Quick question: ",
    "Hey, ",
    "por favor, ",
    "Hola, ¿me puedes ayudar con esto? ",
    "Bonjour, pouvez-vous m'aider ? ",
    "Hallo, kannst du mir bitte helfen? ",
    "Olá, pode me ajudar com isto? ",
    "Здравствуйте! Помогите, пожалуйста: ",
    "请帮我回答：",
    "你好，",
    "すみません、教えてください。",
    "안녕하세요, 질문이 있습니다. ",
    "من فضلك ساعدني: ",
    "नमस्ते, कृपया मदद करें: ",
)
CLOSINGS = (
    "\n\nThanks!",
    "\nThank you so much in advance.",
    " Thanks a lot!",
    " thx",
    "\nAnswer:",
    "\n\nResponse:",
    "\nA:",
    " Please.",
    "\nPlease answer as well as you can.",
    " I need this soon.",
    "\n\nGracias.",
    "\nMerci d'avance !",
    "\nVielen Dank!",
    "\nObrigado!",
    "\nСпасибо!",
    "谢谢！",
    "\nよろしくお願いします。",
    "\n감사합니다.",
    "\nشكرا",
    "\nधन्यवाद",
)


def rewritten(prompt: str, generator: random.Random) -> str:
    """The prompt with one change, or a few."""
    kind = generator.randrange(8)
    if kind in (0, 1, 4):
        prompt = generator.choice(OPENINGS) + prompt
    if kind in (2, 3, 4):
        prompt = prompt.rstrip() + generator.choice(CLOSINGS)
    if kind == 5:
        prompt = generator.choice(('"{}"', "**{}**", "> {}", "`{}`", "# {}", "```\n{}\n```")).format(prompt)
    if kind in (4, 6):
        prompt = CHANGES["typos"](prompt, generator)
    if kind == 7:
        prompt = generator.choice(("\n\n{}", "- {}", "1. {}", "{}\n\n---", "{} ...", "{}!!")).format(prompt)
    return prompt
