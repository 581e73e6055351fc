from __future__ import annotations

import socket

import pytest

from turnout.serve.http import listener


@pytest.mark.parametrize("together", [listener.listening_together, listener.bound_together])
@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="addresses are not shared here")
def test_no_socket_stays_open_where_one_of_several_cannot_be_made(monkeypatch, together):
    made = []
    kept = {name: getattr(listener, name) for name in ("listening", "_bound")}

    def failing(make):
        def one(*arguments, **options):
            if len(made) == 2:
                raise OSError("no more")
            made.append(make(*arguments, **options))
            return made[-1]

        return one

    for name, make in kept.items():
        monkeypatch.setattr(listener, name, failing(make))
    with pytest.raises(OSError, match="no more"):
        together("127.0.0.1", 0, 3)
    assert len(made) == 2
    assert [one.fileno() for one in made] == [-1, -1]
