"""What is measured of impressions: rates, ranking quality, reliability, position bias, with intervals. Pure."""
