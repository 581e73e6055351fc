"""Receipts for other programs, with the field names of the public draft "Route Receipt" (arXiv 2605.01710) as far as they are known.

The draft's JSON schema is not part of turnout and was not validated against: ``schema_version`` says that the document is turnout's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

#: Of the exported documents.
SCHEMA_VERSION = "turnout.route-receipt.1"
_RATE_LIMIT = frozenset(["429", "quota"])
_CAPACITY = frozenset(["overloaded", "503", "529", "breaker_open"])
#: Fields of receipts that stand in the exported document under another name.
_RENAMED = frozenset(["request_id", "time", "served", "fallback", "prompt"])


def route_receipt(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """A receipt as a document for other programs.

    Args:
        receipt: A line of the decision log.

    Returns:
        Values for JSON. Everything else that the receipt has is under ``turnout``; the prompt is not.

    Example:
        >>> found = route_receipt({"request_id": "4f1c", "time": 0.0, "router": "mf", "model": "small", "served": "large", "fallback": "429"})
        >>> found["served_at"], found["resolved_model"], found["fallback"]["reason"]
        ('1970-01-01T00:00:00+00:00', 'large', 'rate_limit')
    """
    served, chosen = receipt.get("served"), receipt.get("model")
    time, name = receipt.get("time"), str(served or "")
    served_at = datetime.fromtimestamp(time, timezone.utc).isoformat() if isinstance(time, int | float) else None
    return {
        "schema_version": SCHEMA_VERSION,
        "receipt_id": receipt.get("request_id"),
        "request_id": receipt.get("request_id"),
        "served_at": served_at,
        "requested_model": f"router-{receipt.get('router')}",
        "resolved_model": served,
        "model_identifier_type": "router",
        "effort": {"effective_status": name.rpartition(":")[2] if ":" in name else "unknown"},
        "fallback": {
            "status": "none" if served == chosen or served is None else "occurred",
            "reason": _reason(receipt),
            "from": chosen,
            "to": served,
        },
        "safety": {"status": "unknown", "visible_action": "unknown"},
        "region_class": "unknown",
        "completion_status": _completion(receipt),
        "redactions": ["prompt"],
        "turnout": {key: value for key, value in receipt.items() if key not in _RENAMED},
    }


def _completion(receipt: Mapping[str, Any]) -> str:
    """Of the answer, where it went through the server."""
    if receipt.get("by") == "gateway":
        return "unknown"
    failure = str(receipt.get("failure") or "")
    if receipt.get("served") is None or failure.isdigit():
        return "failed"
    return "interrupted" if failure else "complete"


def _reason(receipt: Mapping[str, Any]) -> str:
    found = str(receipt.get("fallback") or "")
    if not found:
        return "none" if receipt.get("served") in (receipt.get("model"), None) else "policy"
    if found in _RATE_LIMIT:
        return "rate_limit"
    if found in _CAPACITY:
        return "capacity"
    return "unknown" if found == "context_overflow" else "provider_error"
