"""Matrix factorization over static features."""
