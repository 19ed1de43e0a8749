"""Our Oracle client beside a pool of threads, as the method's published script has one, on one core."""
