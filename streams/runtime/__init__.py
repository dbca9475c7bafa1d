"""How a process of a role runs and ends: endless tasks, retries, the watchdog, last words."""
