"""The OpenAI-compatible server: ``turnout serve`` (extra ``[serve]``).

A request passes :mod:`~turnout.serve.app` (limits, keys), :mod:`~turnout.serve.endpoints.routed` (parse, plan, answer),
:mod:`~turnout.serve.state` (which router, which models), :mod:`~turnout.serve.decisions.attempts` (retries, fallback) and
:mod:`~turnout.serve.upstreams.upstream` (one call). Settings are in :mod:`~turnout.serve.settings.tables`.
"""
