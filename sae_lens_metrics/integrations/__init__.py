"""The only place with private or undocumented names of other packages."""
