"""1d probes on known features (Gao et al. 2024, section 4.2)."""
