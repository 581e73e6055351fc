"""Cascades measured on logs: P(error), curves of cost and quality."""
