"""An exhaustive small model of the dump's protocol (obs-dump.md §12.5) and the replay of real logs through it.

Start with `README.md`, then `state.py`, `servers.py`, `unit.py`, `search.py`.
"""
