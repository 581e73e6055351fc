"""The key of ``[log]`` that signs receipts."""

from __future__ import annotations

from turnout._core import ConfigError
from turnout.outcomes.signature import ReceiptKey
from turnout.serve.upstreams.secrets import key_text


def read_receipt_key(where: str, *, env: str = "", file: str = "") -> ReceiptKey | None:
    """Reads a key.

    Args:
        where: What names it, for errors.
        env: Environment variable that has it.
        file: File that has it.

    Returns:
        ``None`` where neither is given.

    Raises:
        ConfigError: It is missing, cannot be read, or is too short. The message never has the key.
    """
    text = key_text(where, env=env, file=file)
    if text is None:
        return None
    try:
        return ReceiptKey(text.encode())
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
