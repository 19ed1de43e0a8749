"""What runs, in which order: one module per flow."""
