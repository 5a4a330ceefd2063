"""The hub's own pages for admins: what must reach somebody, how it goes, and trying it again; the words of it. Signed in to with an API key."""
