"""Calls the chosen model through LiteLLM, which knows the APIs of many providers.

Model names are LiteLLM's, `provider/model`, and each needs the key of its provider. To route inside LiteLLM's proxy
instead, see docs/integrations/litellm.md.

Run: OPENAI_API_KEY=... python examples/litellm_completion.py
"""

import asyncio
from pathlib import Path

import litellm

import turnout

PROMPTS = Path(__file__).parent / "data" / "prompts.txt"

router = turnout.load(strong="openai/gpt-4o", weak="openai/gpt-4o-mini")


async def main() -> None:
    for prompt in PROMPTS.read_text(encoding="utf-8").splitlines()[:10]:
        decision = await router.aroute(prompt)
        answer = await litellm.acompletion(model=decision.model, messages=[{"role": "user", "content": prompt}])
        print(
            f"{decision.model:20} {decision.win_rate:.3f}  {prompt[:40]:40}  {answer.choices[0].message.content[:40]}"
        )


if __name__ == "__main__":
    asyncio.run(main())
