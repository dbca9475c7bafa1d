"""The live page: keeps an hour of the topics' data and shows it in a browser."""
