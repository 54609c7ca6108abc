"""The page: its files, and the town as it shows it, sent as what has changed."""
