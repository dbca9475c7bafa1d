"""The live page: what the topics tell, kept for an hour, and shown in a browser."""
