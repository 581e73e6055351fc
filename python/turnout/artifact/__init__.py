"""Artifact folders: the writer, staging, model cards, quantiles."""
