"""SAEs, checkpoints and models: from the hub, from disk, from SAELens's directory of releases."""
