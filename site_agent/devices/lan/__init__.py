"""What is on the local network around a bay's PC: `wake` calls it up, `shelly` knows the HTTP of plugs and lights, `machines` makes it the port."""
