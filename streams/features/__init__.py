"""What is known of shoppers and items from their events."""
