"""One timer for all waits of a stream, with the meaning of one for each."""

from __future__ import annotations

import asyncio

import pytest

from turnout.serve.http.asgi import ClientGone, sending_until
from turnout.serve.http.timeout import Timeout


def counting_timers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    loop = asyncio.get_running_loop()
    call_at, timers = loop.call_at, []
    monkeypatch.setattr(
        loop, "call_at", lambda when, *rest, **more: timers.append(when) or call_at(when, *rest, **more)
    )
    return timers


def test_many_waits_share_one_timer(monkeypatch):
    async def main():
        timers = counting_timers(monkeypatch)
        timeout, loop = Timeout(), asyncio.get_running_loop()
        for _ in range(1000):
            with timeout.at(loop.time() + 60):
                await asyncio.sleep(0)
        timeout.close()
        return len(timers)

    assert asyncio.run(main()) == 1


def test_a_stream_to_a_client_that_reads_takes_one_timer_and_leaves_none(monkeypatch):
    async def main():
        timers = counting_timers(monkeypatch)
        sent = []

        async def send(message):
            sent.append(message)
            await asyncio.sleep(0)

        loop = asyncio.get_running_loop()
        with sending_until(loop.time() + 60, send) as sending:
            for place in range(100):
                await sending({"place": place})
        return len(sent), len(timers), [one for one in getattr(loop, "_scheduled", []) if not one.cancelled()]

    assert asyncio.run(main()) == (100, 1, [])


def test_a_wait_ends_at_its_own_time_though_the_timer_was_started_for_another():
    async def main():
        timeout, loop = Timeout(), asyncio.get_running_loop()
        for first, then in ((0.01, 0.05), (60, 0.01)):
            with timeout.at(loop.time() + first):
                await asyncio.sleep(0)
            until = loop.time() + then
            with pytest.raises(TimeoutError), timeout.at(until):
                await asyncio.sleep(30)
            assert loop.time() >= until
        # It can be used again, and a wait that ended in time is not ended by its timer.
        with timeout.at(loop.time() + 0.01):
            await asyncio.sleep(0)
        await asyncio.sleep(0.03)
        timeout.close()
        task = asyncio.current_task()
        return task.cancelling() if hasattr(task, "cancelling") else 0

    assert asyncio.run(main()) == 0


def test_a_cancellation_by_others_stays_one():
    async def wait(timeout):
        with timeout.at(asyncio.get_running_loop().time() + 0.01):
            await asyncio.sleep(30)

    async def main():
        timeout = Timeout()
        task = asyncio.create_task(wait(timeout))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        timeout.close()

    asyncio.run(main())


def test_a_client_that_does_not_read_is_gone_at_the_deadline():
    async def main():
        async def send(message):
            await asyncio.sleep(30)

        with sending_until(asyncio.get_running_loop().time() + 0.01, send) as sending, pytest.raises(ClientGone):
            await sending({})

    asyncio.run(main())
