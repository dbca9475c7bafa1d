"""The parts of the dimension effect besides the measures: probabilities, catalogue, unjudged items, honesty."""
