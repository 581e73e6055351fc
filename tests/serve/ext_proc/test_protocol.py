"""The protocol: every mode of sending a body, trailers, answers, frames that do not belong, gateways that go away, and the end."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_upstream import wait_until
from tests.serve.ext_proc.gateway import Gateway, body, chat, head, headers_of
from tests.serve.ext_proc.messages import (
    BUFFERED,
    BUFFERED_PARTIAL,
    FULL_DUPLEX_STREAMED,
    NONE,
    STREAMED,
    ProcessingRequest,
    ProcessingResponse,
)

TRAILERS = ProcessingRequest(request_trailers={})


def pieces(answers):
    """The pieces of a body in full duplex."""
    return [one.request_body.response.body_mutation.streamed_response for one in answers]


def test_in_full_duplex_the_pieces_are_held_until_the_decision(gateway):
    one, content = gateway(), chat(text="é" * 100_000)
    cut = [content[start : start + 50_001] for start in range(0, len(content), 50_001)]
    messages = [body(piece, is_end=piece is cut[-1]) for piece in cut]
    first, *rest = one.ask(head(mode=FULL_DUPLEX_STREAMED), *messages)
    changed = content.replace(b"router-mf-0.0", b"big", 1)
    assert headers_of(first) == {"x-turnout-model": "big", "content-length": str(len(changed))}
    found = pieces(rest)
    assert b"".join(piece.body for piece in found) == changed
    assert [piece.end_of_stream for piece in found] == [False] * (len(found) - 1) + [True]
    assert max(len(piece.body) for piece in found) < 64 * 1024
    assert one.state.bodies.used == 0


def test_trailers_end_a_body_in_full_duplex(gateway):
    answers = gateway().ask(head(mode=FULL_DUPLEX_STREAMED), body(chat(), is_end=False), TRAILERS)
    assert [one.WhichOneof("kind") for one in answers] == [
        "request_headers", "request_body", "request_trailers",
    ]  # fmt: skip
    assert headers_of(answers[0])["x-turnout-model"] == "big"
    (only,) = pieces(answers[1:2])
    assert (json.loads(only.body)["model"], only.end_of_stream) == ("big", False)


def test_what_is_too_long_in_full_duplex_goes_on_in_order(gateway):
    one, content = gateway(server={"max_body_bytes": 1000}), chat(text="x" * 3000)
    messages = [body(content[start : start + 400]) for start in range(0, len(content), 400)]
    for message in messages[:-1]:
        message.request_body.end_of_stream = False
    first, *rest = one.ask(head(mode=FULL_DUPLEX_STREAMED), *messages)
    assert headers_of(first) == {"x-turnout-undecided": "body_too_large"}
    assert b"".join(piece.body for piece in pieces(rest)) == content
    assert pieces(rest)[-1].end_of_stream


def test_other_requests_in_full_duplex_go_on_piece_by_piece(gateway):
    _, *rest = gateway().ask(head("/v1/files", mode=FULL_DUPLEX_STREAMED), body(b"ab", is_end=False), body(b"c"))
    assert [(piece.body, piece.end_of_stream) for piece in pieces(rest)] == [(b"ab", False), (b"c", True)]


@pytest.mark.parametrize("mode", [STREAMED, BUFFERED_PARTIAL, None])
def test_a_body_in_one_piece_is_read_in_every_mode(gateway, mode):
    _, answer = gateway().ask(head(mode=mode), body(chat()))
    assert headers_of(answer)["x-turnout-model"] == "big"


@pytest.mark.parametrize("mode", [STREAMED, BUFFERED_PARTIAL, None])
def test_a_body_in_several_pieces_goes_on_unchanged_where_none_can_be_held_back(gateway, mode):
    one, content = gateway(), chat()
    _, *rest = one.ask(head(mode=mode), body(content[:20], is_end=False), body(content[20:], is_end=False), TRAILERS)
    assert headers_of(rest[0]) == {"x-turnout-undecided": "streamed"}
    assert not any(answer.request_body.response.HasField("body_mutation") for answer in rest[:2])
    assert rest[2].WhichOneof("kind") == "request_trailers"


def test_a_header_cannot_be_set_after_the_head_of_a_stream_went_on(gateway):
    one = gateway(ext_proc={"rewrite_body": False})
    first, _ = one.ask(head(mode=STREAMED), body(chat()))
    assert headers_of(first) == {"x-turnout-undecided": "streamed"}


def test_answers_of_models_pass(gateway):
    first = head()
    first.protocol_config.response_body_mode = FULL_DUPLEX_STREAMED
    answers = gateway().ask(
        *(first, body(chat()), ProcessingRequest(response_headers={})),
        *(ProcessingRequest(response_body={"body": b"ab", "end_of_stream": end}) for end in (False, True)),
        ProcessingRequest(response_trailers={}),
    )[2:]
    kinds = ["response_headers", "response_body", "response_body", "response_trailers"]
    assert [one.WhichOneof("kind") for one in answers] == kinds
    streamed = [one.response_body.response.body_mutation.streamed_response for one in answers[1:3]]
    assert [(one.body, one.end_of_stream) for one in streamed] == [(b"ab", False), (b"ab", True)]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (head(), (2, BUFFERED, 0)),
        (head(mode=STREAMED), (2, STREAMED, 0)),
        (head("/v1/files"), (2, NONE, 0)),
        (head(content_encoding="gzip"), (2, NONE, 0)),
        (head("/v1/files", mode=FULL_DUPLEX_STREAMED), None),
        (head(mode=None), None),
    ],
    ids=range(6),
)
def test_the_gateway_is_asked_for_nothing_that_is_not_read(gateway, first, expected):
    (answer,) = gateway().ask(first)
    mode = answer.mode_override
    found = (mode.response_header_mode, mode.request_body_mode, mode.response_body_mode)
    assert (found if answer.HasField("mode_override") else None) == expected


def test_an_observer_gets_no_answer(gateway):
    assert gateway().ask(ProcessingRequest(request_headers={}, observability_mode=True)) == []


BAD = [
    (b"\xff\xff\xff",),
    (b"",),
    (body(b"{}"),),
    (head(), head()),
    (TRAILERS,),
    (ProcessingRequest(response_headers={}),),
]


@pytest.mark.parametrize("messages", BAD, ids=range(len(BAD)))
def test_frames_that_do_not_belong_close_the_exchange_without_an_error(gateway, messages):
    one = gateway()
    assert len(one.ask(*messages)) == len(messages) - 1
    one.counted(protocol=1)
    assert headers_of(one.ask(head(), body(chat()))[1])["x-turnout-model"] == "big"


def test_no_bytes_end_the_service(gateway):
    one = gateway()

    @given(st.lists(st.binary(max_size=60), max_size=3))
    def run(messages):
        one.ask(*messages)

    run()
    assert headers_of(one.ask(head(), body(chat()))[1])["x-turnout-model"] == "big"


def test_many_exchanges_at_once_do_not_mix(gateway):
    one = gateway()

    def ask(number: int) -> bool:
        name = ("big", "small")[number % 2]
        content = chat(f"router-mf-{float(number % 2)}", text=f"{number} " * (number % 50))
        mode = FULL_DUPLEX_STREAMED if number % 3 else 2
        answers = one.ask(head(mode=mode), body(content[:30], is_end=False), body(content[30:])) if mode == 4 else one.ask(
            head(), body(content)
        )  # fmt: skip
        told = [headers_of(answer).get("x-turnout-model") for answer in answers]
        part = answers[-1].request_body.response.body_mutation
        return name in told and json.loads(part.body or part.streamed_response.body)["model"] == name

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(ask, range(300)))
    one.counted(decided=300)
    assert one.state.bodies.used == 0


def test_what_a_gateway_leaves_behind_is_released(gateway):
    one, sent, end = gateway(), threading.Event(), threading.Event()

    def messages():
        yield head(mode=FULL_DUPLEX_STREAMED).SerializeToString()
        yield body(b"x" * 1000, is_end=False).SerializeToString()
        sent.set()
        end.wait(60)

    call = one.call(messages())
    sent.wait(30)
    wait_until(lambda: one.state.bodies.used == 1000)
    call.cancel()
    wait_until(lambda: one.state.bodies.used == 0)
    end.set()


def open_exchange(one: Gateway, *messages: ProcessingRequest):
    """An exchange that its gateway does not end."""
    done = threading.Event()

    def sent():
        for message in messages:
            yield message.SerializeToString()
        done.wait(30)

    return one.call(sent(), timeout=30), done


def test_exchanges_that_only_wait_for_an_answer_end_cleanly_when_the_service_stops(gateway):
    one = gateway()
    call, done = open_exchange(one, head(), body(chat()))
    answers = iter(call)
    assert headers_of([ProcessingResponse.FromString(next(answers)) for _ in range(2)][1])["x-turnout-model"] == "big"
    one.stop(grace_s=20)
    assert list(answers) == []
    assert call.code() == grpc.StatusCode.OK
    done.set()


def test_a_request_whose_body_still_comes_is_decided_while_the_service_stops(gateway):
    one, go_on = gateway(), threading.Event()

    def messages():
        yield head(mode=FULL_DUPLEX_STREAMED).SerializeToString()
        yield body(chat()[:20], is_end=False).SerializeToString()
        go_on.wait(30)
        yield body(chat()[20:]).SerializeToString()

    call = one.call(messages(), timeout=30)
    wait_until(lambda: one.state.bodies.used == 20)
    stopping = threading.Thread(target=one.stop, args=(20,))
    stopping.start()
    wait_until(lambda: one.service._is_stopping)
    go_on.set()
    answers = [ProcessingResponse.FromString(answer) for answer in call]
    assert headers_of(answers[0])["x-turnout-model"] == "big"
    stopping.join(30)
    assert not stopping.is_alive()
