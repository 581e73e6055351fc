"""The clients' side: sockets, connections, ASGI, keys, bodies of requests, limits."""
