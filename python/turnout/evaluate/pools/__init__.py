"""Measures pools of models: cost-quality curves, baselines, RouterArena's scores, and files of other benchmarks."""
