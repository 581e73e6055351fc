"""What the pipeline must know of an API. The base class has OpenAI's shapes, which most servers use."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from turnout.serve.dialects.errors import ApiError
from turnout.serve.dialects.judging import BadAnswerError, check_error, json_object

#: Ids of what an upstream stores: what may stand in a path. Gateways put the place of a response into its id, in base64.
ID = re.compile(r"[A-Za-z0-9_=-]{1,1024}")


class Dialect(ABC):
    """One API. Instances have no state."""

    #: As ``[models.NAME] dialects`` names it.
    name: ClassVar[str]
    #: After the upstream's base URL.
    path: ClassVar[str]
    #: ``gen_ai.operation.name`` of spans.
    operation: ClassVar[str] = "chat"
    #: The field of a request that has the conversation.
    conversation: ClassVar[str] = "messages"
    #: Fields besides the conversation that the model reads.
    beside: ClassVar[tuple[str, ...]] = ("tools", "functions")
    #: Fields that refer to what the upstream has stored.
    references: ClassVar[tuple[str, ...]] = ()
    #: Fields that limit the tokens of the answer.
    limits: ClassVar[tuple[str, ...]] = ()
    #: Headers of the client that are forwarded, besides those of every dialect.
    request_headers: ClassVar[frozenset[bytes]] = frozenset()
    #: Fields of the client's query that are forwarded.
    query: ClassVar[frozenset[str]] = frozenset()
    #: Header of the upstream's key where the configuration names none.
    key_header: ClassVar[str] = "authorization"
    #: Reason of the failure of an answer that has no content.
    without_content: ClassVar[str]
    #: Statuses of errors with status 200, by their code or type.
    statuses: ClassVar[Mapping[str, int]] = {}
    #: Whether decisions are counted, logged and shown as requests of a model.
    is_logged: ClassVar[bool] = True
    #: Whether agents ask for summaries of what they do: these begin no turn, stay with its model, and take no reasoning effort.
    is_summary: ClassVar[bool] = False
    #: Whether answers may be streams.
    can_stream: ClassVar[bool] = True

    def is_stream(self, request: Mapping[str, Any]) -> bool:
        """Whether a request asks for a stream. Upstreams differ on ``1`` and ``"true"``, so only the booleans are accepted.

        Args:
            request: The body.

        Raises:
            ApiError: ``stream`` is of another type.
        """
        if not self.can_stream:
            return False
        found = request.get("stream")
        if found is None or isinstance(found, bool):
            return bool(found)
        kind = type(found).__name__
        raise ApiError(400, f"stream is of type {kind}, expected true or false", code="invalid_type", param="stream")

    def messages(self, request: Mapping[str, Any]) -> Any:
        """The conversation as :func:`turnout.conversation.prompt_of` takes it.

        Args:
            request: The body.
        """
        return request.get(self.conversation)

    def whole(self, body: bytes) -> dict[str, Any]:
        """The object of a whole answer that is not an error.

        Args:
            body: Its bytes.

        Raises:
            BadAnswerError: It is empty, not a JSON object, or an error.
        """
        found = json_object(body, "not_json", "a JSON object")
        self.check_error(found, body)
        return found

    def event_object(self, data: bytes) -> dict[str, Any]:
        """The object of an event that is not an error.

        Args:
            data: The event's data.

        Raises:
            BadAnswerError: It is empty, not a JSON object, or an error.
        """
        found = json_object(data, "not_a_stream", "a JSON object in each event")
        self.check_error(found, data)
        return found

    def check_error(self, found: Mapping[str, Any], body: bytes) -> None:
        """Checks that an object is not an error.

        Args:
            found: The object.
            body: The JSON text that has it.

        Raises:
            BadAnswerError: It is one.
        """
        check_error(found, self.statuses, body)

    @abstractmethod
    def check_whole(self, body: bytes) -> dict[str, Any]:
        """Checks a whole answer with status 200.

        Args:
            body: Its bytes.

        Returns:
            What it has.

        Raises:
            BadAnswerError: It is not an answer of this dialect, or an error.
        """

    @abstractmethod
    def event(self, data: bytes) -> dict[str, Any]:
        """Checks the data of one of the first events of a stream.

        Args:
            data: The event's data.

        Returns:
            What it has.

        Raises:
            BadAnswerError: The event is an error, or not one of this dialect.
        """

    @abstractmethod
    def begins(self, event: Mapping[str, Any]) -> bool:
        """Whether the model has begun to answer. Events before this one are held back, so that another model can still answer.

        Args:
            event: Of :meth:`event`.
        """

    def session_id(self, request: Mapping[str, Any]) -> str:
        """What a request says of its session or its user; empty for nothing.

        Args:
            request: The body.
        """
        found = request.get("prompt_cache_key")
        return found if isinstance(found, str) else ""

    def output_limit(self, request: Mapping[str, Any]) -> int | None:
        """The most tokens that the answer may have, where the request says so.

        Args:
            request: The body.
        """
        found = next((request[name] for name in self.limits if request.get(name) is not None), None)
        return found if isinstance(found, int) else None

    def wants_json(self, request: Mapping[str, Any]) -> bool:
        """Whether the answer has to be JSON.

        Args:
            request: The body.
        """
        return is_json_format(request.get("response_format"))

    def id_of(self, found: Mapping[str, Any]) -> str:
        """Under which id an answer can be referred to later; empty for none.

        Args:
            found: Of :meth:`check_whole` or :meth:`event`.
        """
        return ""

    def check_references(self, request: Mapping[str, Any]) -> None:
        """Checks that all that a request refers to can be read, so that its owner can be compared.

        Args:
            request: The body.

        Raises:
            ApiError: 400 for what is no id.
        """
        for name in self.references:
            value = request.get(name)
            found = value.get("id") if isinstance(value, dict) else value
            if value is not None and not (isinstance(found, str) and ID.fullmatch(found)):
                raise ApiError(400, f"{name} is no id of a response or conversation", code="invalid_value", param=name)

    def continues(self, request: Mapping[str, Any]) -> tuple[str, ...]:
        """Ids of earlier answers, or of a stored conversation, that a request refers to.

        Args:
            request: The body.
        """
        return ()

    def is_error_event(self, data: bytes) -> bool:
        """Whether the data of an event is an error.

        Args:
            data: The event's data.
        """
        try:
            self.event(data)
        except BadAnswerError as error:
            return error.reason == "error_in_answer"
        return False

    def is_finished(self, tail: bytes) -> bool:
        """Whether a stream has ended as it should.

        Args:
            tail: Its last events.
        """
        return True

    def is_error(self, found: Mapping[str, Any]) -> bool:
        """Whether the clients of this dialect read an error of an upstream.

        Args:
            found: The error's body.
        """
        return isinstance(found.get("error", {}), dict)

    def error_body(self, error: ApiError, request_id: str) -> bytes:
        """An error of the server as JSON text.

        Args:
            error: The error.
            request_id: Of the request.
        """
        return error.body()

    def error_headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        """Headers of an error of the server, besides ``x-request-id``.

        Args:
            request_id: Of the request.
        """
        return []

    def error_event(self, error: ApiError, request_id: str, tail: bytes) -> bytes:
        """An event that ends an interrupted stream, and that clients raise as an error.

        Args:
            error: Why it was interrupted.
            request_id: Of the request.
            tail: The last events before it.
        """
        return b"data: " + self.error_body(error, request_id) + b"\n\n"


class TokenCount(Dialect):
    """The count of a request's input tokens, at the model that would answer it; beside the class of its dialect."""

    operation = "count_tokens"
    is_logged = False
    can_stream = False

    def check_whole(self, body: bytes) -> dict[str, Any]:
        """A number of tokens."""
        found = self.whole(body)
        if not isinstance(found.get("input_tokens"), int):
            raise BadAnswerError("no_count", "200 without a number of input_tokens")
        return found


def is_json_format(format: Any) -> bool:
    """Whether a format of an answer is JSON.

    Args:
        format: With a ``type``, as OpenAI writes it.
    """
    return isinstance(format, dict) and format.get("type") in ("json_object", "json_schema")
