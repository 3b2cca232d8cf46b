"""``python -m sae_lens_metrics``, for where the command is not on the path."""

from sae_lens_metrics.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
