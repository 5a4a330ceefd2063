"""`make demo-check`: walks bookings through the running demo as its users would, with a cut in the middle."""
