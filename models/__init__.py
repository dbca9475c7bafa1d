"""Text in, scores out: BERT encoders and the scorers built on them. Knows nothing of Kafka or Redis."""

import os

# Read by torch's OpenMP when torch is first imported. Its threads spin while they wait, which makes a model call tens
# of times slower when a broker, Redis or another worker wants the same cores (docs/scorer.md). Yours wins if set.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
