"""Parts of a stream are sent at once."""

from __future__ import annotations

import socket

from turnout.serve.http.listener import listening


def test_connections_do_not_wait_for_acknowledgments() -> None:
    with listening("127.0.0.1", 0) as server, socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
