"""The panels of the live page: each turns a topic's data into rows of the page."""
