"""NinjaOne, who looks after the bays' PCs: `wire` knows its HTTP, `tokens` its OAuth, `machines` turns it into the port's words."""
