"""From labelled examples to better scorers. Knows texts, grades and models; nothing of Kafka, Redis or versions."""
