"""Attribution: joins impressions and outcomes in event time, keeps the state in Redis, and gives labelled examples."""
