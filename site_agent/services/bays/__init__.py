"""The bays: their machines, what they need for a guest, which of them can be sold."""
