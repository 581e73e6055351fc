"""Makes ``prompts.json``: the inputs that every benchmark shares, cut to exact numbers of tokens of the shipped tokenizer.

Usage: python benches/make_prompts.py python/turnout/artifacts/mf/tokenizer.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer

ENGLISH = """Can you explain why the sky looks blue during the day but turns red at sunset? I have read that it has to do with
how light is scattered by small particles in the air, yet my textbook gives two different formulas and I do not see how they fit
together. Please start from the wavelength of visible light, show each step of the argument with numbers, and then tell me what
would change if the atmosphere of the Earth were ten times thicker, or if the Sun were a cooler star of about 3,500 kelvin. After
that, write a short Python function that takes a wavelength in nanometres and returns the relative intensity of scattered light,
with a docstring, type hints and two unit tests. A friend of mine claims that the ocean is blue because it reflects the sky; is
that correct, partly correct or simply wrong? Finally, compare three cameras that photographers use for sunsets, list the price,
the weight and the sensor size of each in a table, and recommend one for a beginner who travels a lot and has a budget of $900."""

SPANISH = """¿Puedes explicar por qué el cielo se ve azul durante el día, pero se vuelve rojo al atardecer? He leído que tiene que
ver con la dispersión de la luz por partículas pequeñas; además, mi profesor dice que la explicación del océano está equivocada."""

CHINESE = """请解释为什么天空在白天看起来是蓝色的,而在日落时变成红色。我读到这与空气中的小颗粒对光的散射有关,但课本给出了两个不同的公式。"""


def main(tokenizer_file: Path) -> None:
    """Writes the prompts beside this script."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    prompts = {}
    for kind, text, counts in [
        ("ascii", ENGLISH, (8, 20, 64, 128, 512)),
        ("spanish", SPANISH, (8, 20, 64)),
        ("chinese", CHINESE, (20, 64)),
    ]:
        endless = " ".join([" ".join(text.split())] * 6)
        for count in counts:
            encoding = tokenizer.encode(endless, add_special_tokens=False)
            prompt = endless[: encoding.offsets[count - 1][1]]
            found = len(tokenizer.encode(prompt, add_special_tokens=False).ids)
            if found != count:
                raise SystemExit(f"{kind}: {found} tokens, expected {count}")
            prompts[f"{kind}-{count}"] = prompt
    target = Path(__file__).parent / "prompts.json"
    target.write_text(json.dumps(prompts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
