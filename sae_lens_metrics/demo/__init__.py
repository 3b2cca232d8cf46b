"""The demo: a tiny language model, its text, and two SAEs trained on the spot."""
