"""What was decided: receipts, the log that keeps them, their signature and export."""
