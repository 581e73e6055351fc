"""Embeddings from the caller: a router with an embedding function, and a client of embedding endpoints."""
