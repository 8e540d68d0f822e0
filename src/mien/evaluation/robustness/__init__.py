"""What is left of a model's accuracy where faces are damaged."""
