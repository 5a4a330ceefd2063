"""What every emulator has alike: its page's skeleton, how a request is read and answered, and the queue of scripted faults."""
