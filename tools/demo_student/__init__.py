"""The workshop in which the demo student of `spot_core/demo/student` was made."""
