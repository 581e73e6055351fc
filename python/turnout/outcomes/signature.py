"""HMAC-SHA256 over a route receipt, so that a change of any of its fields shows.

It covers the decision and the SHA-256 of the answer as the client got it. It does not show that whole receipts are missing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from turnout.errors import ConfigError
from turnout.outcomes.receipts import cell_of

#: Field of a receipt with the id of the key and the HMAC.
FIELD = "signature"
#: Bytes of a key at least: a shorter one can be guessed.
FEWEST_BYTES = 16
_KEY_ID = b"turnout receipt key"

Finding = Literal["intact", "changed", "unsigned", "unknown key"]


class ReceiptKey:
    """A key that signs receipts and checks them. It is never shown.

    Args:
        secret: At least 16 bytes.

    Raises:
        ConfigError: It is shorter.

    Example:
        >>> key = ReceiptKey(b"sixteen bytes or more")
        >>> signed = key.signed({"request_id": "4f1c", "model": "large"})
        >>> key.holds(signed), key.holds({**signed, "model": "small"})
        (True, False)
    """

    __slots__ = ("_mac", "id")

    def __init__(self, secret: bytes) -> None:
        if len(secret) < FEWEST_BYTES:
            raise ConfigError(
                f"the key for receipts has {len(secret)} bytes, expected at least {FEWEST_BYTES}; such as of `openssl rand -hex 32`"
            )
        # In place of the secret: it cannot be pickled.
        self._mac = hmac.new(secret, digestmod=hashlib.sha256)
        #: Names the key in receipts and says nothing of it.
        self.id = self._code_of(_KEY_ID)[:16]

    def __repr__(self) -> str:
        return f"ReceiptKey({self.id})"

    def signed(self, receipt: Mapping[str, Any]) -> dict[str, Any]:
        """A receipt with its signature. One with further fields is signed anew.

        Args:
            receipt: The receipt: values for JSON.

        Returns:
            The receipt with the field ``signature``: the id of the key and the HMAC.

        Example:
            >>> ReceiptKey(b"sixteen bytes or more").signed({"request_id": "4f1c"})["signature"]["key_id"]
            'bf1ce07642dfb7c3'
        """
        return {**receipt, FIELD: {"key_id": self.id, "hmac_sha256": self._code(receipt)}}

    def holds(self, receipt: Mapping[str, Any]) -> bool:
        """Whether the signature of a receipt is that of its fields; compared in constant time.

        Args:
            receipt: The receipt, with a signature.

        Returns:
            False also for a receipt without a signature, or with one of another key.

        Example:
            >>> ReceiptKey(b"sixteen bytes or more").holds({"request_id": "4f1c"})
            False
        """
        found = _signature(receipt).get("hmac_sha256")
        return isinstance(found, str) and hmac.compare_digest(found.encode(), self._code(receipt).encode())

    def _code(self, receipt: Mapping[str, Any]) -> str:
        return self._code_of(canonical(receipt))

    def _code_of(self, content: bytes) -> str:
        mac = self._mac.copy()
        mac.update(content)
        return mac.hexdigest()


def canonical(receipt: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: the same for a receipt of a log in JSON lines and in parquet.

    Fields without a value do not count, since a column of parquet has one for every row. Objects and lists are the JSON text that parquet
    has, and whole numbers are whole whatever the type of their column.

    Args:
        receipt: The receipt.

    Example:
        >>> canonical({"b": 1.0, "a": {"x": [1, None]}, "c": None})
        b'{"a": "{\\\\"x\\\\": [1, null]}", "b": 1}'
    """
    found = {name: _plain(value) for name, value in receipt.items() if name != FIELD and value is not None}
    return json.dumps(found, sort_keys=True).encode()


def check(receipt: Mapping[str, Any], keys: Iterable[ReceiptKey]) -> Finding:
    """What a signature says.

    Args:
        receipt: The receipt.
        keys: Those that may have signed it; the receipt names one.
    """
    signature = _signature(receipt)
    if not signature:
        return "unsigned"
    key = next((one for one in keys if one.id == signature.get("key_id")), None)
    if key is None:
        return "unknown key"
    return "intact" if key.holds(receipt) else "changed"


def _signature(receipt: Mapping[str, Any]) -> Mapping[str, Any]:
    found = receipt.get(FIELD)
    try:
        found = json.loads(found) if isinstance(found, str) else found
    except ValueError:
        found = {"key_id": None}
    return found if isinstance(found, Mapping) else {} if found is None else {"key_id": None}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return cell_of(value)
