"""The demo: a simulated shop opens, learns, suffers a drift and recovers, on a real stack."""
