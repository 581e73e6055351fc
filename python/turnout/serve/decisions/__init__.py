"""Which model answers a request, and which comes next."""
