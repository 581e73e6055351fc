"""How much of an answer a cascade holds back before it is judged."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from turnout.serve.http.json_body import beside_the_loop
from turnout.serve.routers.judges import LoadedCascade
from turnout.serve.upstreams.answer import Answer, EventRelay
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.reading import Reading
from turnout.serve.upstreams.upstream import WHOLE_BYTES

logger = logging.getLogger("turnout.serve")


async def held_for_judging(answer: Answer, reading: Reading, cascade: LoadedCascade) -> tuple[Answer, Reading | None]:
    """The answer with as much of it read as is judged.

    Args:
        answer: Of a model.
        reading: Reads it, in the dialect of the request; what it has when the stream breaks was read before.
        cascade: How much is held.

    Returns:
        The answer, and what was read; ``None`` for errors, and for bodies that are too long to hold or too deep to read.

    Raises:
        UpstreamError: The stream broke or had an error while it was held. The answer is closed.
    """
    if answer.status != 200 or not (answer.rest is None or isinstance(answer.rest, EventRelay)):
        return answer, None
    try:
        if answer.rest is None:
            try:
                await beside_the_loop(len(answer.first), lambda: reading.whole(answer.first))
            except ValueError as error:
                logger.warning("an answer is not judged: %s", error)
                return answer, None
            return answer, reading
        first = await _hold(answer.first, answer.rest, reading, cascade)
    except BaseException:
        answer.close()
        raise
    return replace(answer, first=first), reading


async def _hold(first: bytes, rest: EventRelay, reading: Reading, cascade: LoadedCascade) -> bytes:
    until = asyncio.get_running_loop().time() + cascade.hold_s
    pieces, size = [first], len(first)
    reading.piece(first)
    while reading.tokens < cascade.hold_tokens and size < WHOLE_BYTES and not rest.has_error:
        try:
            piece = await rest.next(until)
        except TimeoutError:
            break
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
        reading.piece(piece)
    if rest.has_error:
        raise UpstreamError("error_in_answer", f"upstream {rest.body.upstream.name} sent an error in its stream")
    return b"".join(pieces)
