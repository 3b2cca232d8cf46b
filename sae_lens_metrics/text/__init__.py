"""Text: where it comes from, how it becomes tokens, and tokens as people read them."""
