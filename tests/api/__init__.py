"""Both apps as a hostile program meets them: on a socket, with what their own description promises."""
