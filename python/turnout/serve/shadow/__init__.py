"""Shadow evaluation: another model answers too, after the client was served, and a judge compares."""
