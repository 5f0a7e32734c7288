"""`pixelmill serve`: runs in a browser, read alone, on this machine."""
