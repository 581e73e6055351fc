"""What ``turnout.toml`` may say, one class a table, and how it is read."""
