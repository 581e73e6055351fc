"""Many streams of each dialect at once for a while: errors, and the server's memory.

python benches/serve_streams.py [--streams 500] [--seconds 60] [--dialect chat messages responses]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path

from http_client import DIALECTS, request
from processes import PORT, turnout, upstream

PROMPT = "Tell me a story about a railway."


def memory_mib(pid: int) -> float:
    """Resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def stream(content: bytes, end: bytes, until: float, counts: dict[str, int]) -> None:
    """One stream after another over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    while time.monotonic() < until:
        writer.write(content)
        head = await reader.readuntil(b"\r\n\r\n")
        text = b""
        while not text.endswith(b"0\r\n\r\n"):
            part = await reader.read(65536)
            if not part:
                break
            text += part
        good = head.startswith(b"HTTP/1.1 200") and end in text and b"error" not in text
        counts["complete" if good else "failed"] += 1
        counts["events"] += text.count(b'"yes"')
    writer.close()


async def load(pid: int, dialect: str, streams: int, seconds: float) -> dict[str, object]:
    """Runs it; memory is read after a tenth of the time, when every connection is there, and until the end."""
    counts = {"complete": 0, "failed": 0, "events": 0}
    content = request("router-mf-0.5", PROMPT, stream=True, dialect=dialect)
    began = time.monotonic()
    tasks = [
        asyncio.create_task(stream(content, DIALECTS[dialect][2], began + seconds, counts)) for _ in range(streams)
    ]
    memory = []
    while time.monotonic() < began + seconds:
        await asyncio.sleep(seconds / 10)
        memory.append(round(memory_mib(pid), 1))
    await asyncio.gather(*tasks)
    return {"streams": streams, "seconds": seconds, **counts, "memory_mib": memory}


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--dialect", nargs="+", choices=list(DIALECTS), default=list(DIALECTS))
    args = parser.parse_args()
    with upstream() as port, turnout(port, "--dialect", *DIALECTS) as pid:
        for dialect in args.dialect:
            found = asyncio.run(load(pid, dialect, args.streams, args.seconds))
            print(json.dumps({"dialect": dialect, **found}, indent=1))
            assert found["complete"]
            assert not found["failed"]


if __name__ == "__main__":
    main()
