"""Tasks for probes: texts with a binary label."""
