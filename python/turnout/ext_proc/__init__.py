"""Decisions for gateways that speak Envoy's external processing protocol (``ext_proc``): Envoy, Envoy AI Gateway, kgateway, agentgateway.

- :mod:`~turnout.ext_proc.decider`: from a request to the model that it goes on with;
- :mod:`~turnout.ext_proc.service`: the gRPC service, whose protocol is Rust's (``rust/ext-proc``);
- :mod:`~turnout.ext_proc.run`: signals, metrics, reload, shutdown.
"""
