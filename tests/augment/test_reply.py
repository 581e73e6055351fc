"""What a response says about the next attempt."""

from __future__ import annotations

import httpx
import pytest

from turnout.augment.reply import read_response


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 0.0),
        ({"Retry-After": "86400"}, 60.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "²"}, None),
        ({}, None),
    ],
)
def test_the_pause_is_read_in_every_form_and_is_a_minute_at_most(headers, pause_s):
    response = httpx.Response(429, headers=[(name, value.encode()) for name, value in headers.items()], text="busy")
    reply = read_response(response, lambda text: text)
    assert reply.retry
    assert reply.pause_s == pause_s
