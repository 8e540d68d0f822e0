"""Whether probabilities mean what they say, and making them so."""
