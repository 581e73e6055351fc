"""Garbage collections of a server: what was there before the first request has no part in them."""

from __future__ import annotations

import asyncio
import gc
import weakref

from turnout.serve.process import settled
from turnout.serve.settings.file import settings_of
from turnout.serve.state import State


def test_what_a_server_begins_with_is_left_out_of_collections_until_it_ends(tables):
    state = State(settings_of(tables))
    before = gc.get_freeze_count()
    with settled(state):
        assert gc.get_freeze_count() > before + 1000
        asyncio.run(state.reload())
        assert gc.get_freeze_count() > before + 1000
    assert gc.get_freeze_count() == 0
    asyncio.run(state.close())


def test_a_reload_collects_what_the_configuration_before_has_left(tables):
    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    state = State(settings_of(tables))
    left = Cycle()
    watched = weakref.ref(left)
    with settled(state):
        del left
        gc.collect()
        assert watched() is not None, "it was frozen"
        asyncio.run(state.reload())
        assert watched() is None
    asyncio.run(state.close())
