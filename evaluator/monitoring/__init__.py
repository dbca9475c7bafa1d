"""Monitoring: drift detectors, the monitors that run them, and the alerts that they raise."""
