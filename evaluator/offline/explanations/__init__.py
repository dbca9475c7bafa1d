"""Explanations of single scores, and measures of how faithful they are. Every contender can be explained."""
