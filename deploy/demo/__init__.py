"""`make demo`: a hub, two sites, a broker and emulated doors on this machine, with a believable day in their books."""
