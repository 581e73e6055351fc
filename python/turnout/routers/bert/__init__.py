"""Sequence classifiers: BERT and its relatives."""
