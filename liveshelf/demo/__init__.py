"""The story: a shop that opens, learns, is hit by a drift and recovers, told as it happens on a real stack."""
