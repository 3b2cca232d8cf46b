"""Results in Weights & Biases: runs, pictures, and workspaces."""
