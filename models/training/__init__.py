"""Trains scorers on labelled examples. Knows texts, grades and models; nothing of Kafka, Redis or versions."""
