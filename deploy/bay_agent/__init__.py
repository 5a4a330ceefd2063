"""The program for a bay's PC: it asks the site agent for work over the LAN, does what its own settings allow, and tells how it went.

Standard library only, one folder, imports within itself relative: it runs as `python -m bay_agent`, or as the one file that
`clubos bay-agent` makes. Invariant: what its own settings do not list is never run, whoever asks.
"""

VERSION = "1"
