"""Keeps the actors alive. One process, one loop; it knows children, `reconcile` alone knows that they are agents."""
