"""What a model costs: time, memory, and the machine it is held against."""
