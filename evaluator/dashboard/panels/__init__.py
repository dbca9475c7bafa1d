"""The panels of the live page: each turns what a topic says into what the page shows."""
