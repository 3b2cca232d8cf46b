"""Explanation reconstruction (Gao et al. 2024, section 4.4)."""
