"""Published numbers to hold this package's own against, one TOML file each."""
