"""Elo weighted by similarity: train, export, import, ratings, approximate index."""
