"""Fits profiles of models: P(success) on a prompt, from outcomes, from scores on leaderboards, or from a model that is alike."""
