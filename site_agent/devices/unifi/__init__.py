"""The UniFi Access controller: `wire` knows its HTTP, `pinning` its certificate, `doors` turns it into the port's words."""
