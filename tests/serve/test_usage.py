"""Receipts hold the tokens of answers and their cost, in every dialect, streamed or whole."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from tests.serve.dialects import SPOKEN, chat_stream, completion, message, message_stream, named, response, streaming

from turnout import ConfigError
from turnout.serve.settings.file import settings_of
from turnout.serve.upstreams.usage import Usage, usage_of, usage_of_stream
from turnout.token_prices import TokenPrices

CACHED = {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 7,
          "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 2}}  # fmt: skip
RESPONSE = {"input_tokens": 100, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 90}}


def whole(body):
    async def script(exchange):
        await exchange.whole(200, body)

    return script


def with_usage(body, usage):
    return json.dumps({**json.loads(body), "usage": usage}).encode()


def event(**fields):
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


CHAT_END = event(
    id="c1", object="chat.completion.chunk", choices=[], usage={"prompt_tokens": 100, "completion_tokens": 20}
)
CHAT = chat_stream("m", ("Hi",))
MESSAGE_HEAD = named("message_start", message={**json.loads(message("m", "")), "content": [], "usage": CACHED})
MESSAGE_END = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 20, "input_tokens": 3})
MESSAGE = [MESSAGE_HEAD, *message_stream("m", ("Hi",))[1:-2], MESSAGE_END, named("message_stop")]
RESPONSE_HEAD = named("response.output_text.delta", delta="Hi", sequence_number=0)
RESPONSE_END = named("response.completed", response=json.loads(response("m", "Hi", usage=RESPONSE)), sequence_number=1)

SCRIPTS = {
    "chat": (whole(with_usage(completion("m", "Hi"), {"prompt_tokens": 100, "completion_tokens": 20})),
             streaming(*CHAT[:-1], CHAT_END, CHAT[-1])),
    "messages": (whole(with_usage(message("m", "Hi"), {**CACHED, "output_tokens": 20})), streaming(*MESSAGE)),
    "responses": (whole(response("m", "Hi", usage=RESPONSE)), streaming(RESPONSE_HEAD, RESPONSE_END)),
}  # fmt: skip


@pytest.fixture
def priced(start, tables, tmp_path):
    for model in tables["models"].values():
        model.update(dialects=list(SPOKEN), input_price=2.0, output_price=10.0)
    return start(log={"path": str(tmp_path / "decisions.jsonl")})


def receipt(path):
    until = time.monotonic() + 10
    while not (lines := path.read_text().splitlines()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return json.loads(lines[-1])


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", list(SPOKEN))
def test_a_receipt_has_the_tokens_and_the_cost(priced, upstream, tmp_path, name, is_stream):
    upstream.default = SCRIPTS[name][is_stream]
    answer = priced.post(SPOKEN[name].body(stream=is_stream), SPOKEN[name].path)
    assert answer.status_code == 200
    found = receipt(tmp_path / "decisions.jsonl")
    assert (found["input_tokens"], found["output_tokens"]) == (100, 20)
    # Five tokens were written to the cache at 1.25 times the input price, and two for an hour at twice that price.
    written = 5 * 0.25 * 2 + 2 * 1 * 2 if name == "messages" else 0
    assert found["cost"] == pytest.approx((100 * 2 + 20 * 10 + written) / 1e6)


@pytest.mark.parametrize("is_stream", [False, True])
def test_writing_to_the_cache_has_a_price(priced, tables, upstream, tmp_path, is_stream):
    """Of 100 input tokens, 90 are read from the cache and 7 are written to it, 2 of them for an hour."""
    tables["models"]["small"].update(cached_input_price=0.2, cache_write_price=4.0, cache_write_1h_price=6.0)
    assert httpx.post(f"{priced.admin_url}/admin/reload", timeout=30).status_code == 200
    upstream.default = SCRIPTS["messages"][is_stream]
    assert priced.post(SPOKEN["messages"].body(stream=is_stream), SPOKEN["messages"].path).status_code == 200
    found = receipt(tmp_path / "decisions.jsonl")
    assert (found["cached_tokens"], found["written_tokens"], found["written_1h_tokens"]) == (90, 7, 2)
    assert found["cost"] == pytest.approx((3 * 2 + 90 * 0.2 + 5 * 4 + 2 * 6 + 20 * 10) / 1e6)


@pytest.mark.parametrize(
    ("fields", "written", "written_1h"),
    [
        ({"dialects": ["chat"]}, None, None),
        ({"dialects": ["messages"]}, 2.5, 4.0),
        ({"dialects": ["messages"], "cache_write_price": 0, "cache_write_1h_price": 0}, 0.0, 0.0),
        ({"dialects": ["messages"], "cache_write_price": 3.0}, 3.0, 4.0),
        ({"dialects": ["chat"], "cache_write_price": 3.0}, 3.0, None),
        ({"dialects": ["chat"], "cache_write_1h_price": 5.0}, None, 5.0),
    ],
)
def test_the_default_price_of_writes_is_that_of_the_api_that_counts_them(tables, fields, written, written_1h):
    tables["models"]["small"] = {"upstream": "main", "input_price": 2.0, "output_price": 10.0, **fields}
    assert settings_of(tables).prices_of("small") == TokenPrices(2.0, 10.0, None, written, written_1h)


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        (TokenPrices(10, 30), 100 * 10),
        (TokenPrices(10, 30, written=12), 70 * 10 + 30 * 12),
        (TokenPrices(10, 30, written=12, written_1h=20), 70 * 10 + 20 * 12 + 10 * 20),
        (TokenPrices(10, 30, written_1h=20), 90 * 10 + 10 * 20),
    ],
)
def test_tokens_that_are_kept_for_an_hour_are_part_of_those_that_are_written(prices, cost):
    assert Usage(100, 0, 0, 30, 10).cost(prices) == pytest.approx(cost / 1e6)
    # A part that is more than the whole.
    assert Usage(100, 0, 0, 30, 50).cost(prices) == pytest.approx(Usage(100, 0, 0, 30, 30).cost(prices))


def test_an_effort_has_the_prices_of_writes_of_its_model(tables):
    effort = {"input_price": 4.0, "body": {"reasoning_effort": "high"}}
    tables["models"]["small"].update(
        input_price=2.0, output_price=10.0, dialects=["messages"], efforts={"high": effort}
    )
    assert settings_of(tables).prices_of("small:high") == TokenPrices(4.0, 10.0, None, 5.0, 8.0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cache_write_price": 1.0}, "cache_write_price is for a model with prices, expected input_price"),
        ({"cache_write_1h_price": 1.0}, "cache_write_1h_price is for a model with prices, expected input_price"),
        ({"cache_write_price": -1.0, "input_price": 1.0}, "cache_write_price is -1.0"),
        ({"cache_write_price": float("inf"), "input_price": 1.0}, "cache_write_price is inf"),
    ],
)
def test_bad_prices_of_writes_are_refused(tables, fields, words):
    tables["models"]["small"].update(fields)
    with pytest.raises(ConfigError, match=words):
        settings_of(tables)


def test_what_the_upstream_does_not_say_is_unknown(priced, upstream, tmp_path):
    upstream.default = streaming(*CHAT)
    priced.post(SPOKEN["chat"].body(stream=True))
    found = receipt(tmp_path / "decisions.jsonl")
    assert [found[name] for name in ("input_tokens", "output_tokens", "cost")] == [None, None, None]


@pytest.mark.parametrize(
    "usage", [None, 7, [], {}, {"prompt_tokens": "7"}, {"prompt_tokens": -1}, {"prompt_tokens": True}]
)
def test_a_hostile_usage_is_unknown(usage):
    assert usage_of({"usage": usage}) == Usage()
    assert usage_of_stream(Usage(1), event(usage=usage)) == Usage(1)


@pytest.mark.parametrize(
    "tail", [b'data: {"usage"\n\n', b'data: ["usage"]\n\n', b'data: {"usage": 1e999}\n\n', b'"usage"' * 2**18]
)
def test_a_tail_that_is_no_event_says_nothing(tail):
    assert usage_of_stream(Usage(), tail) == Usage()
