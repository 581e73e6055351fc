"""Decisions for gateways that speak Envoy's external processing protocol (``ext_proc``): Envoy, Envoy AI Gateway, kgateway, agentgateway.

- :mod:`~turnout.ext_proc.messages`: the part of the protocol's messages that is used;
- :mod:`~turnout.ext_proc.decider`: from a request to the headers and the body that it goes on with;
- :mod:`~turnout.ext_proc.exchange`: the conversation about one request, in every mode of sending its body;
- :mod:`~turnout.ext_proc.service`: the gRPC service;
- :mod:`~turnout.ext_proc.run`: signals, metrics, reload, shutdown.
"""
