"""What `tt doctor` looks at: the machine, the town."""
