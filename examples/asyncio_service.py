"""Answers many prompts concurrently, each by the model that turnout chooses.

Run: OPENAI_API_KEY=... python examples/asyncio_service.py
"""

import asyncio
from pathlib import Path

from openai import AsyncOpenAI

import turnout

PROMPTS = Path(__file__).parent / "data" / "prompts.txt"

router = turnout.load(strong="gpt-4o", weak="gpt-4o-mini")


async def answer(client: AsyncOpenAI, free: asyncio.Semaphore, prompt: str) -> tuple[turnout.Decision, str]:
    decision = await router.aroute(prompt)  # never blocks the event loop
    async with free:
        completion = await client.chat.completions.create(
            model=decision.model, messages=[{"role": "user", "content": prompt}]
        )
    return decision, completion.choices[0].message.content or ""


async def main() -> None:
    prompts = PROMPTS.read_text(encoding="utf-8").splitlines()[:20]
    free = asyncio.Semaphore(8)  # calls to the models at a time
    async with AsyncOpenAI() as client:  # reads OPENAI_BASE_URL and OPENAI_API_KEY
        answers = await asyncio.gather(*(answer(client, free, prompt) for prompt in prompts))
    for prompt, (decision, text) in zip(prompts, answers, strict=True):
        print(f"{decision.model:12} {decision.win_rate:.3f}  {prompt[:40]:40}  {text[:40]}")


if __name__ == "__main__":
    asyncio.run(main())
