"""One package for each kind of router: train, export, import."""
