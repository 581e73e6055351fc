"""Transcripts of agents through the server: decisions a turn, changes of the model, and what the tokens cost where providers cache prompts.

python benches/agent_replay.py [--transcripts 12] [--share 0.3] [--error-cost 0.2]

The upstream is a model of a provider: it has the conversation of each model cached up to the last request, says so in its usage, and forgets nothing.
Costs are of a strong and a weak model (5 and 1 per million input tokens, a tenth if cached, 25 and 5 for output, 300 tokens an answer). The qualities of
answers are unknown here, so the two single models are given both.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
from agent_transcripts import transcript
from aiohttp import web

from turnout.serve.app import client_app
from turnout.serve.settings.file import settings_of
from turnout.serve.state import State

#: Per million tokens: input, input from the cache, output.
PRICES = {"strong": (5.0, 0.5, 25.0), "weak": (1.0, 0.1, 5.0)}
OUTPUT_TOKENS = 300
CHARACTERS_PER_TOKEN = 4
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


class Provider:
    """Answers at once, and knows what is cached."""

    def __init__(self) -> None:
        self.cached: set[tuple[str, str]] = set()
        self.costs: Counter[str] = Counter()

    def app(self) -> web.Application:
        """Every dialect."""
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([web.post(f"/v1{PATHS[dialect].removeprefix('/v1')}", self._answer) for dialect in PATHS])
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        model = body["model"]
        tokens = read = 0
        for size, prefix in prefixes(body.get("messages") or body["input"]):
            tokens = size
            if (model, prefix) in self.cached:
                read = size
            self.cached.add((model, prefix))
        price, cached, output = PRICES[model]
        self.costs[model] += (tokens - read) * price + read * cached + OUTPUT_TOKENS * output
        return web.json_response(spoken(request.path, tokens, read))


def prefixes(items: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """Tokens and hash of each beginning of a conversation."""
    digest, size = hashlib.sha256(), 0
    for item in items:
        text = json.dumps(item, sort_keys=True).encode()
        digest.update(text)
        size += len(text)
        yield size // CHARACTERS_PER_TOKEN, digest.hexdigest()


def spoken(path: str, tokens: int, read: int) -> dict[str, Any]:
    """An answer with its usage."""
    if path == PATHS["messages"]:
        usage = {"input_tokens": 0, "cache_read_input_tokens": read, "cache_creation_input_tokens": tokens - read}
        content = [{"type": "text", "text": "yes"}]
        return {"id": "m", "type": "message", "content": content, "usage": {**usage, "output_tokens": OUTPUT_TOKENS}}
    if path == PATHS["responses"]:
        usage = {"input_tokens": tokens, "input_tokens_details": {"cached_tokens": read}}
        return {"object": "response", "store": False, "output": [], "usage": {**usage, "output_tokens": OUTPUT_TOKENS}}
    usage = {"prompt_tokens": tokens, "prompt_tokens_details": {"cached_tokens": read}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    return {"object": "chat.completion", "choices": [choice], "usage": {**usage, "completion_tokens": OUTPUT_TOKENS}}


async def replay(model: str, error_cost: float, transcripts: int) -> dict[str, Any]:
    """All transcripts of all dialects through one server."""
    provider = Provider()
    runner = web.AppRunner(provider.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    models = {
        name: {
            "upstream": "provider",
            "dialects": list(PATHS),
            "input_price": prices[0],
            "cached_input_price": prices[1],
        }
        for name, prices in PRICES.items()
    }
    tables = {
        "upstreams": {"provider": {"base_url": f"http://127.0.0.1:{port}/v1"}},
        "models": models,
        "pair": {"strong": "strong", "weak": "weak"},
        "switching": {"error_cost": error_cost},
    }
    state = State(settings_of(tables))
    turns: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    transport = httpx.ASGITransport(client_app(state))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for dialect in PATHS:
            for number in range(transcripts):
                for request in transcript(dialect, number, model):
                    answer = await client.post(PATHS[dialect], json=request.body)
                    assert answer.status_code == 200, answer.text
                    turns[dialect, number, request.turn].append(answer.headers["x-turnout-model"])
    decisions = state.recent.count
    await state.close()
    await runner.cleanup()
    return {
        "requests": sum(map(len, turns.values())),
        "turns": len(turns),
        "decisions_per_turn": round(decisions / len(turns), 3),
        "switches_within_turns": sum(len(set(models)) - 1 for models in turns.values()),
        "switches_between_turns": sum(
            turns[key][-1] != turns[(*key[:2], key[2] + 1)][0] for key in turns if (*key[:2], key[2] + 1) in turns
        ),
        "turns_of_the_strong_model": round(sum(models[0] == "strong" for models in turns.values()) / len(turns), 3),
        "cost": round(sum(provider.costs.values()) / 1e6, 3),
    }


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transcripts", type=int, default=12, help="of each dialect")
    parser.add_argument("--share", type=float, default=0.3, help="of strong decisions")
    parser.add_argument("--error-cost", type=float, default=0.2)
    args = parser.parse_args()
    routed = f"router-mf-share-{args.share:g}"
    found = {
        "always strong": asyncio.run(replay("strong", 0.0, args.transcripts)),
        "always weak": asyncio.run(replay("weak", 0.0, args.transcripts)),
        "each turn as decided": asyncio.run(replay(routed, 0.0, args.transcripts)),
        "a change pays for the cache": asyncio.run(replay(routed, args.error_cost, args.transcripts)),
    }
    print(json.dumps(found, indent=1))
    for name in ("each turn as decided", "a change pays for the cache"):
        assert found[name]["decisions_per_turn"] == 1.0, found[name]
        assert found[name]["switches_within_turns"] == 0, found[name]


if __name__ == "__main__":
    main()
