"""The NumPy specification of every kind of router. Imported by tests and by nothing in the product."""
