"""Causal language models that answer with a score token."""
