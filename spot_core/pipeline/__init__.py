"""The stages as plain functions: for each, the recipe of its artifact and the work that makes it."""
