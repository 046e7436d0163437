"""Foreign formats → our components, one file per format, and back."""
