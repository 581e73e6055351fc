"""What routed traffic cost and how good its answers were: receipts of a decision log, joined with outcomes."""
