"""How fast this machine evaluates: each metric's rate on synthetic weights, what limits it, and minutes for the presets."""
