"""The parts of the emulated NinjaOne: its OAuth, its devices and what runs on them, its API, its webhooks, its desk."""
