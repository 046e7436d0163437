"""Conversion of other code's file formats to this package's components and back; one module per format."""
