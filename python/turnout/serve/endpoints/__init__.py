"""What clients and administrators call."""
