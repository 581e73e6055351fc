"""What is known of a conversation, in memory or in Redis."""
