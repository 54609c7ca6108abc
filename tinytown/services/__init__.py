"""What a user can do: one function per verb, whichever door it comes through."""
