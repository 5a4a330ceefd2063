"""The bays' own program as a way to their PCs: it asks this site agent for work over the LAN, needs no cloud, and proves itself by a key."""
