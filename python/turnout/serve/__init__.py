"""The OpenAI-compatible server: ``turnout serve`` (extra ``[serve]``).

A request passes :mod:`~turnout.serve.app` (limits, keys), :mod:`~turnout.serve.routed_endpoint` (parse, plan, answer),
:mod:`~turnout.serve.state` (which router, which models), :mod:`~turnout.serve.attempts` (retries, fallback) and
:mod:`~turnout.serve.upstream` (one call). Settings are in :mod:`~turnout.serve.settings`.
"""
