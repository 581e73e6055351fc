"""Embeddings from an OpenAI-compatible endpoint: batches, time limits, retries, a cache."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError, InferenceError, InvalidInputError
from turnout.extras import require
from turnout.model_client import authorization_header, model_client


class EmbeddingClient:
    """Calls ``POST {base_url}/embeddings``; an instance is the function that :func:`turnout.with_embeddings` takes.

    Safe to share between threads. The key is read from the environment for each request and kept nowhere.

    Args:
        base_url: Such as ``https://api.openai.com/v1`` or ``http://localhost:8000/v1``.
        model: Name of the embedding model.
        key_variable: Environment variable that holds the key; where it is not set, no key is sent, which local servers accept.
        dim: Length that embeddings must have; ``None`` takes any.
        request_dim: Also ask the endpoint for this length (OpenAI's ``dimensions``).
        batch: Prompts a request at most.
        timeout_s: For a request, from connection to last byte.
        retries: Further attempts after time-outs, refused connections and status 408, 409, 429 and 5xx, with pauses as the
            ``openai`` package makes them: doubling, or as long as ``Retry-After`` says.
        cache_prompts: Embeddings kept in memory, the least recently used going first; 0 keeps none.
        cache_file: SQLite file that keeps embeddings for good.
        http_client: Client of ``httpx`` in place of the default one.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key_variable: str = "OPENAI_API_KEY",
        dim: int | None = None,
        request_dim: bool = False,
        batch: int = 128,
        timeout_s: float = 30.0,
        retries: int = 4,
        cache_prompts: int = 10_000,
        cache_file: str | Path | None = None,
        http_client: Any = None,
    ) -> None:
        if batch < 1 or retries < 0 or timeout_s <= 0:
            raise ConfigError(
                f"batch {batch}, retries {retries}, timeout_s {timeout_s}: expected 1 or more, 0 or more, above 0"
            )
        if request_dim and dim is None:
            raise ConfigError("request_dim needs dim")
        require("openai", "openai", purpose="an embeddings endpoint")
        import openai

        self.url = base_url.rstrip("/") + "/embeddings"
        self.model = model
        self.key_variable = key_variable
        self.dim = dim
        self.request_dim = request_dim
        self.batch = batch
        self.retries = retries
        # A redirect is an error: the key and the prompts are for this address.
        http = http_client or openai.DefaultHttpxClient(timeout=timeout_s, follow_redirects=False)
        self._client = model_client(
            "OpenAI", base_url, "none", timeout=timeout_s, max_retries=retries, http_client=http
        )
        self._cache = _Cache(cache_prompts, cache_file)

    def __call__(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of prompts, float32 ``[prompts, dim]``.

        Raises:
            InferenceError: The endpoint refused, or went on failing; the message has its status and words.
            InvalidInputError: An empty prompt, which such endpoints refuse.
        """
        for position, prompt in enumerate(prompts):
            if not prompt:
                raise InvalidInputError(f"prompts[{position}] is empty, and embedding endpoints refuse that")
        keys = [self._key(prompt) for prompt in prompts]
        found = self._cache.get(keys)
        missing = list(dict.fromkeys(position for position, key in enumerate(keys) if key not in found))
        unknown = list({keys[position]: prompts[position] for position in missing}.items())
        for start in range(0, len(unknown), self.batch):
            part = unknown[start : start + self.batch]
            rows = self._request([prompt for _, prompt in part])
            fresh = dict(zip((key for key, _ in part), rows, strict=True))
            self._cache.put(fresh)
            found.update(fresh)
        return np.stack([found[key] for key in keys]) if keys else np.empty((0, self.dim or 0), dtype=np.float32)

    def close(self) -> None:
        """Closes connections and the cache."""
        self._client.close()
        self._cache.close()

    def __enter__(self) -> EmbeddingClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EmbeddingClient({self.url!r}, {self.model!r})"

    def _key(self, prompt: str) -> bytes:
        parts = (self.url, self.model, str(self.dim if self.request_dim else ""), prompt)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()

    def _request(self, prompts: list[str]) -> NDArray[np.float32]:
        import openai

        options: dict[str, Any] = {"dimensions": self.dim} if self.request_dim else {}
        key = os.environ.get(self.key_variable)
        headers = authorization_header(f"Bearer {key}" if key else None)
        try:
            answer = self._client.embeddings.create(model=self.model, input=prompts, extra_headers=headers, **options)
            rows = [_row(item.embedding) for item in sorted(answer.data, key=lambda item: item.index)]
        except openai.APIStatusError as error:
            words = error.response.text.replace(key, "***") if key else error.response.text
            raise InferenceError(
                f"{self.url} refused the last of at most {self.retries + 1} attempts, status {error.status_code}: {words[:500]}"
            ) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            problem = f"{type(cause).__name__}: {cause}"
            raise InferenceError(f"{self.url} failed {self.retries + 1} times, the last time with {problem}") from error
        except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
            raise InferenceError(
                f"{self.url} returned a response that is not OpenAI's format: {error!r:.300}"
            ) from error
        lengths = sorted({row.size for row in rows})
        if len(rows) != len(prompts) or lengths != [self.dim or lengths[0]]:
            expected = f"{len(prompts)} of length {self.dim or 'any'}"
            raise InferenceError(
                f"{self.url} returned {len(rows)} embeddings of lengths {lengths}, expected {expected}"
            )
        matrix = np.stack(rows)
        if not np.isfinite(matrix).all():
            raise InferenceError(f"{self.url} returned embeddings with values that are not finite")
        return matrix


def _row(embedding: Any) -> NDArray[np.float32]:
    row = np.array(embedding, dtype=np.float32)
    if row.ndim != 1:
        raise ValueError(f"an embedding of shape {row.shape}")
    return row


class _Cache:
    """Embeddings by key, in memory and, if a file is given, on disk."""

    def __init__(self, limit: int, file: str | Path | None) -> None:
        self._limit = limit
        self._memory: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()
        self._disk = None
        if file is not None:
            self._disk = sqlite3.connect(file, check_same_thread=False)
            self._disk.execute(
                "CREATE TABLE IF NOT EXISTS embeddings (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID"
            )
            self._disk.commit()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        found = {}
        with self._lock:
            for key in keys:
                row = self._memory.get(key)
                if row is not None:
                    self._memory.move_to_end(key)
                elif self._disk is not None:
                    stored = self._disk.execute("SELECT row FROM embeddings WHERE key = ?", (key,)).fetchone()
                    row = None if stored is None else np.frombuffer(stored[0], dtype="<f4").astype(np.float32)
                if row is not None:
                    found[key] = row
        return found

    def put(self, rows: dict[bytes, NDArray[np.float32]]) -> None:
        with self._lock:
            for key, row in rows.items():
                self._memory[key] = row
                while len(self._memory) > self._limit:
                    self._memory.popitem(last=False)
            if self._disk is not None:
                stored = [(key, row.astype("<f4").tobytes()) for key, row in rows.items()]
                self._disk.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", stored)
                self._disk.commit()

    def close(self) -> None:
        with self._lock:
            if self._disk is not None:
                self._disk.close()
                self._disk = None
