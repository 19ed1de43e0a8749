"""What the calculator Oracle repairs of real wrong responses and of injected slips, and what it must never touch."""
