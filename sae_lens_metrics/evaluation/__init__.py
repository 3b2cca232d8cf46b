"""Evaluating subjects: one, or many after each other."""
