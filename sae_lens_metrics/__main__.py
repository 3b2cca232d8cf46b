"""``python -m sae_lens_metrics``, for where the command is not on the path."""

from sae_lens_metrics.cli.program import program

if __name__ == "__main__":
    program()
