"""How a process of a role runs and ends: work that lasts, retries, the watchdog, last words."""
