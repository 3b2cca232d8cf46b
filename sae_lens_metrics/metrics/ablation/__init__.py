"""Sparsity of ablation effects (Gao et al. 2024, section 4.5)."""
