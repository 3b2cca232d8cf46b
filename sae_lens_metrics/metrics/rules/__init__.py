"""Explanations that need no run of the model: rules about tokens."""
