"""The configuration: pydantic sections, profiles, and overrides."""
