"""A whole run under faults, compared with an undisturbed one."""
