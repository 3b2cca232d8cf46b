"""N2G: n-gram explanations, their precision and recall (Gao et al. 2024, section 4.3)."""
