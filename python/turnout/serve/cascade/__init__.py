"""Routers with ``mode = "cascade"``: answers are held, judged, and kept or discarded."""
