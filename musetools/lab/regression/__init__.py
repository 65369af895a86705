"""What notebooks found, held against what they should find."""
