"""One HTML file that shows every pair, offline: written in Python, drawn by a script of its own."""
