"""The customer's pages: booking without an account or a script, and the page of one's own order behind an unguessable link."""
