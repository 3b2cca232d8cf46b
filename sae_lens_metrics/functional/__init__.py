"""Pure tensor mathematics: knows no model, no SAE and no file."""
