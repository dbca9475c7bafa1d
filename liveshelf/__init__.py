"""The program: command line, settings, the local stack, the demo and its simulated shoppers."""
