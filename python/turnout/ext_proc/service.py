"""The gRPC service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from turnout.ext_proc.decider import Decider
from turnout.ext_proc.exchange import Exchange, ProtocolError
from turnout.ext_proc.messages import METHOD, ProcessingRequest
from turnout.serve.state import State

logger = logging.getLogger("turnout.ext_proc")


class Service:
    """The server that gateways call. For one event loop.

    An exchange that fails is closed without an error status: the gateway then sends the request on as it came.

    Args:
        state: The state of a server, whose upstreams are not called.
        shares_port: Whether other processes listen on its port, too.
    """

    def __init__(self, state: State, *, shares_port: bool = False) -> None:
        self._decider = Decider(state)
        self._is_stopping = False
        #: Tasks of exchanges whose decision was made.
        self._waiting: set[asyncio.Task[Any]] = set()
        # A body that is too long to be judged still goes on.
        settings = state.snapshot.settings
        largest = settings.server.max_bodies_bytes
        self._body_timeout_s = settings.ext_proc.body_timeout_s
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=settings.ext_proc.max_exchanges,
            options=[
                ("grpc.max_receive_message_length", largest),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", int(shares_port)),
            ],
        )
        service, method = METHOD
        # Bytes in place of messages: one that cannot be read would otherwise end the exchange with an error status.
        handler = grpc.stream_stream_rpc_method_handler(
            self._process, response_serializer=lambda message: message.SerializeToString()
        )
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])

    async def start(self, host: str, port: int) -> int:
        """Listens.

        Args:
            host: The address.
            port: The port; 0 for a free one.

        Returns:
            The port.

        Raises:
            OSError: The address is taken or is not one of this machine.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            found = self._server.add_insecure_port(address)
        except RuntimeError:
            found = 0
        if not found:
            raise OSError(f"cannot listen on {address}")
        await self._server.start()
        return int(found)

    async def stop(self, grace_s: float) -> None:
        """Stops: no new exchanges. Those that only wait for the HTTP answer end at once, the others may decide.

        Args:
            grace_s: Seconds until they are canceled.
        """
        self._is_stopping = True
        stopping = asyncio.ensure_future(self._server.stop(grace_s))
        for task in self._waiting:
            task.cancel()
        await stopping

    async def _process(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        exchange = Exchange(self._decider)
        task = asyncio.current_task()
        assert task is not None
        loop, requests = asyncio.get_running_loop(), aiter(requests)
        held_since = 0.0
        reading: asyncio.Future[bytes | None] | None = None
        try:
            while True:
                if exchange.is_holding:
                    held_since = held_since or loop.time()
                    reading = asyncio.ensure_future(_next(requests))
                    left_s = held_since + self._body_timeout_s - loop.time()
                    # The read goes on: gRPC would end the exchange if it were canceled.
                    if not (await asyncio.wait({reading}, timeout=max(left_s, 0.0)))[0]:
                        for response in exchange.give_up():
                            yield response
                    content = await reading
                else:
                    content = await anext(requests, None)
                if content is None:
                    return
                self._waiting.discard(task)
                message = ProcessingRequest.FromString(content)
                if message.observability_mode:
                    return
                for response in await exchange.answer(message):
                    yield response
                if exchange.is_passing:
                    if self._is_stopping:
                        return
                    self._waiting.add(task)
        except (DecodeError, ProtocolError):
            self._decider.unchanged("protocol")
        except asyncio.CancelledError:
            if not self._is_stopping or not exchange.is_passing:
                raise
        finally:
            if reading is not None:
                reading.cancel()
            self._waiting.discard(task)
            exchange.close()


async def _next(requests: AsyncIterator[bytes]) -> bytes | None:
    return await anext(requests, None)
