"""Text in, scores out: BERT encoders and the scorers built on them. Knows nothing of Kafka or Redis."""

import os

# Torch's OpenMP reads this when torch is first imported. Its threads spin while they wait, which makes a call tens
# of times slower when a broker, Redis or another worker wants the same cores (figures in docs/scorer.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
