"""A server with the playground in a process of its own, before a scripted upstream: for tests in a browser and for the picture."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[3]

CONFIG = """\
[server]
port = {port}
admin_port = 0
{server}

[upstreams.local]
base_url = "{base_url}"
retries = 0

[models.large-model]
upstream = "local"
input_price = 2.5
output_price = 10.0

[models.small-model]
upstream = "local"
input_price = 0.15
output_price = 0.6

{pair}

[routers.{name}]
path = "{artifact}"

[routers.random]
seed = 1
{more}
"""

PAIR = """\
[pair]
strong = "large-model"
weak = "small-model"
"""

#: A pool besides: two models whose chances depend on the prompt, and a cheap one.
POOL = """\
[pool]
objective = { target = 0.7 }
models = ["expert", "allround", "quick"]
routers = ["mf"]

[models.expert]
upstream = "local"
like = "gpt-4-1106-preview"
input_price = 10
output_price = 30
latency_ms = { p95 = 14_000 }

[models.allround]
upstream = "local"
like = "mixtral-8x7b-instruct-v0.1"
input_price = 0.6
output_price = 0.6
latency_ms = { p95 = 5_000 }

[models.quick]
upstream = "local"
success = 0.35
input_price = 0.05
output_price = 0.1
latency_ms = { p95 = 1_500 }
context_window = 2_000
"""


class Site:
    """The server; ``start`` and ``stop`` may be called again and again, on the same port.

    Args:
        folder: For configuration and log.
        base_url: The upstream's.
        artifact: Folder of the artifact.
        name: Its router's name.
        server: More lines of table ``[server]``.
        more: More tables.
        pair: Table ``[pair]``; empty for none.
    """

    def __init__(
        self,
        folder: Path,
        base_url: str,
        artifact: Path,
        *,
        name: str = "mf",
        server: str = "",
        more: str = "",
        pair: str = PAIR,
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "server.log"
        self._config = folder / "turnout.toml"
        text = CONFIG.format(
            port=port, base_url=base_url, artifact=artifact, name=name, server=server, more=more, pair=pair
        )
        self._config.write_text(text, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        command = [sys.executable, "-m", "turnout", "serve", "--config", str(self._config)]
        # A proxy of the machine is not for loopback.
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "no_proxy": "*"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self._config.parent)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(600):
            assert self._process.poll() is None, self.log.read_text(encoding="utf-8")
            try:
                with opener.open(f"{self.url}/ready", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        raise AssertionError(f"the server did not become ready:\n{self.log.read_text(encoding='utf-8')}")

    def stop(self) -> None:
        """Ends it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
