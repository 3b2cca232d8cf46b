"""Activation shrinkage (Gao et al. 2024, section 5.1)."""
