"""Whether a challenger may go on: better on the newest examples it has not seen, and within every budget."""
