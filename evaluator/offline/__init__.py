"""Offline evaluation: models side by side on the same data, by effect, robustness, explanations, cost and fairness."""
