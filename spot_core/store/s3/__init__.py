"""Artifacts in an object store: conditional writes for completion, leases with fencing, a scratch folder for work."""
