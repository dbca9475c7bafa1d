"""Training from files, by hand."""
