"""Metrics in SAELens's training runs."""
