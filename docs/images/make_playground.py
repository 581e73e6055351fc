"""Makes ``playground.png``: the playground in Chromium, with a scripted upstream in the place of the models.

    make test-browser                # once, for its environment
    python docs/images/make_playground.py [evaluation.json]

The file is what ``turnout eval --json`` wrote for the shipped router; it lies beside the artifact while the picture is taken.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
PICTURE = Path(__file__).parent / "playground.png"
MAX_BYTES = 200_000

PROMPT = "Prove that there are infinitely many primes, then prove it a second way that uses no contradiction."
CHAT = [
    ("Hi! How was your day?", "Quiet, thank you. What shall we look at?"),
    (
        "Which of these is a noble gas?\nA. nitrogen\nB. argon\nC. chlorine\nD. oxygen\nAnswer:",
        "B. Argon: its outer shell is full, so it hardly reacts.",
    ),
    (
        "Prove that the square root of 2 is irrational, and say where the proof fails for 4.",
        "Suppose √2 = p/q in lowest terms. Then p² = 2q², so p is even, p = 2r, and q² = 2r² makes q even too: a contradiction. "
        "For 4 the step from p² = 4q² to p divisible by 4 fails.",
    ),
]

#: Requests of other clients, for the live view.
BEFORE = [
    "Thanks!",
    "Write a haiku about rust.",
    "Integrate x^2 e^x and check the result.",
    "What is the capital of France?",
    "Prove the Cauchy-Schwarz inequality in two ways.",
    "Explain why quicksort is quadratic on sorted input, and how to avoid it.",
    "A train leaves at 3 pm at 60 miles an hour. When does it arrive, 150 miles away?",
    "Translate 'good morning' into Spanish.",
    "Design a cache that survives a crash, and argue that no write is lost.",
]


def module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def main(evaluation: str | None = None) -> None:
    upstream_module = module(ROOT / "tests" / "serve" / "upstream.py")
    site_module = module(ROOT / "tests" / "serve" / "playground" / "site.py")
    chromium = module(ROOT / "tests" / "serve" / "playground" / "browser" / "conftest.py").chromium()
    answers = dict(CHAT)

    async def answer(exchange: Any) -> None:
        await exchange.begin_stream()
        text = answers.get(exchange.json["messages"][-1]["content"], "")
        for word in text.split(" "):
            await exchange.chunk(upstream_module.event({"content": word + " "}))
            await asyncio.sleep(0.005)
        await exchange.chunk(upstream_module.event({}, finish="stop") + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    with tempfile.TemporaryDirectory() as name, upstream_module.ScriptedUpstream() as upstream:
        upstream.default = answer
        artifact = Path(name) / "mf"
        shutil.copytree(ROOT / "python" / "turnout" / "artifacts" / "mf", artifact)
        if evaluation:
            shutil.copyfile(evaluation, artifact / "evaluation.json")
        site = site_module.Site(Path(name), upstream.base_url, artifact, more=site_module.POOL)
        site.start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--no-proxy-server"]
                )
                page = browser.new_page(viewport={"width": 1360, "height": 1000}, color_scheme="light")
                page.goto(site.url)
                page.wait_for_selector("#status[data-state=here]")
                for place in range(30):
                    text = BEFORE[place * 7 % len(BEFORE)]
                    body = {
                        "model": "router-mf-share-0.6",
                        "stream": True,
                        "messages": [{"role": "user", "content": text}],
                    }
                    page.request.post(f"{site.url}/v1/chat/completions", data=body)
                    page.wait_for_timeout(40 + place % 5 * 60)
                page.get_by_role("slider", name="Share of prompts").fill("60")
                for text, _ in CHAT:
                    page.get_by_role("textbox", name="Message").fill(text)
                    page.get_by_role("button", name="Send").click()
                    page.wait_for_selector(".said.answer:last-child:not([aria-busy])")
                page.get_by_role("textbox", name="Prompt").fill(PROMPT)
                page.wait_for_selector("#why .word")
                page.wait_for_selector("#pool-verdict .verdict")
                page.wait_for_timeout(1200)
                shot = page.screenshot(full_page=True)
                browser.close()
        finally:
            site.stop()
    image = Image.open(io.BytesIO(shot)).convert("RGB").quantize(160, dither=Image.Dither.NONE)
    image.save(PICTURE, optimize=True)
    size = PICTURE.stat().st_size
    assert size < MAX_BYTES, f"{size} bytes"
    print(f"{PICTURE}: {size} bytes, {image.width} x {image.height}")


if __name__ == "__main__":
    main(*sys.argv[1:])
