"""The doors: what the controller should hold and does, why a door opened, emergencies."""
