"""The commands of `spot`, a module for each kind. Each imports what it needs when it runs, so that `--help` is quick."""
