"""Taking over the state of older versions."""
