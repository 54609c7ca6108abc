"""What runs in a forked process: the agent actor."""
