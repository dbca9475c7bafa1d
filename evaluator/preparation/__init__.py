"""Raw files of a shop to clean, split data: what is dropped, and why, is counted and written to a data card."""
