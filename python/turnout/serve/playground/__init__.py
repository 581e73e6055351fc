"""The page for people: ``/``, its files under ``/playground/``, and what it asks for under ``/playground/api/``.

- :mod:`~turnout.serve.playground.files`: the page itself, with its security headers;
- :mod:`~turnout.serve.playground.describe`: what is loaded: routers, their calibration scores, models, prices;
- :mod:`~turnout.serve.playground.scores`: win rates of every router while a prompt is typed;
- :mod:`~turnout.serve.playground.explain`: what drove one win rate;
- :mod:`~turnout.serve.playground.evaluation`: the evaluation curve that lies beside an artifact;
- :mod:`~turnout.serve.playground.live`: the last decisions, as they are made.

Chats go through ``/v1/chat/completions`` like those of every client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from turnout.serve.playground import files
from turnout.serve.playground.describe import Describe
from turnout.serve.playground.explain import Explain
from turnout.serve.playground.live import Live
from turnout.serve.playground.scores import Scores

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from turnout.serve.state import State


def routes(state: State) -> list[BaseRoute]:
    """Routes of the page; see :class:`turnout.serve.state.State` for what it reads."""
    return [
        Route("/", files.index),
        Route("/playground/{name}", files.static),
        Route("/playground/api/setup", Describe(state).answer),
        Route("/playground/api/scores", Scores(state).answer, methods=["POST"]),
        Route("/playground/api/explain", Explain(state).answer, methods=["POST"]),
        Route("/playground/api/decisions", Live(state).answer),
    ]
