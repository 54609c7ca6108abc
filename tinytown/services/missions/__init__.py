"""Missions: what users can do with them, and the steps that commands and the scheduler change them by."""
