"""The page on which a person edits the failures that wait for one: a single HTML file that needs no network."""
