"""The catalogue: items, their vectors, the two indexes over them, and the topic through which workers share them."""
