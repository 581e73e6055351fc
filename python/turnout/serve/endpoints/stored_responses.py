"""``/v1/responses/ID``: a response is asked for at the upstream that made it."""

from __future__ import annotations

from turnout.serve.decisions.planning import Plan
from turnout.serve.decisions.snapshot import Model
from turnout.serve.dialects import STORED_RESPONSE
from turnout.serve.dialects.dialect import ID
from turnout.serve.dialects.errors import ApiError
from turnout.serve.endpoints.routed import RoutedEndpoint
from turnout.serve.http.asgi import RawHeaders, Scope, Send, client_of
from turnout.serve.state import State
from turnout.serve.tracing import CallSpan
from turnout.serve.upstreams import headers as passing
from turnout.serve.upstreams.upstream import Request


class StoredResponses(RoutedEndpoint):
    """``GET``, ``DELETE``, ``POST .../cancel`` and ``GET .../input_items`` of a response.

    Args:
        state: The server's state.
        ending: Of the path, after the id.
    """

    def __init__(self, state: State, ending: str = "") -> None:
        super().__init__(state, STORED_RESPONSE)
        self._ending = ending

    async def _respond(
        self, body: bytes, scope: Scope, send: Send, request_id: str, response_headers: RawHeaders
    ) -> None:
        name = scope["path_params"]["id"]
        client = client_of(scope)
        model = await self._model(name, client)
        query = passing.query(scope["query_string"], self.dialect.query)
        request = Request(
            self.dialect,
            b"",
            passing.to_upstream(scope["headers"], self.dialect.request_headers),
            ("stream", "true") in query,
            request_id,
            method="GET" if scope["method"] == "HEAD" else scope["method"],
            path=f"/{name}{self._ending}",
            query=query,
        )
        settings = self.state.snapshot.settings
        await self._answer(
            Plan((model,)), settings, request, send, response_headers, None, CallSpan(None), client=client
        )

    async def _model(self, name: str, client: str) -> Model:
        """The model that made a response; any model of the upstream where there is but one and clients have no keys."""
        snapshot = self.state.snapshot
        if ID.fullmatch(name):
            (made,) = await self.state.made.of([name])
            model = made.model_in(snapshot) if made is not None and made.client == client else None
            if model is not None:
                return model
            speaking = [one for one in snapshot.models.values() if self.dialect.name in one.dialects]
            # With keys, a response belongs to the client that made it: where that is not known, it is nobody's.
            if made is None and not self.state.needs_key and len({one.upstream.name for one in speaking}) == 1:
                return speaking[0]
        raise ApiError(404, f"unknown response {name[:200]!r}", code="response_not_found")
