"""Features of shoppers and items, computed from events."""
