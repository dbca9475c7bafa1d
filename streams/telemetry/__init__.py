"""What a process says of itself: metrics, logs, last words."""
