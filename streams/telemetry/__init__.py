"""What a process reports: metrics, logs, last words."""
