"""The gate: is a challenger better on the newest examples it has not seen, and within every budget?"""
