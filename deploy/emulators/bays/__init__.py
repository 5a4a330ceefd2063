"""The parts of the emulated bays: PCs that run the real bay agent, their switch on the local network, the card that is called up, the desk."""
