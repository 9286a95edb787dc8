"""A small stand-in for GitHub's runner; `scripts/run-action` is its door."""
