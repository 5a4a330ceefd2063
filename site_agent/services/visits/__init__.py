"""Guests at the house: arriving, walking in, put elsewhere, there or not."""
