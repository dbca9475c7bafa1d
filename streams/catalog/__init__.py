"""The catalogue: items, their vectors, the two indexes over them, and the topic that all workers share them by."""
