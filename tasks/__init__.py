"""The units that are retried and seen in the Prefect UI, one module per stage."""
