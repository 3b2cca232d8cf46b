"""A model and an SAE at its hook."""
