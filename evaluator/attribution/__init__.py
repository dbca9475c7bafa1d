"""Attribution: impressions and outcomes joined in event time, kept in Redis, and told as labelled examples."""
