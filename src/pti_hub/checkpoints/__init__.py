"""Other people's files → our components, one importer a format, and the checkpoints known by name."""
