"""`pixelmill report`: what came of a run, on one page that needs nothing but a browser."""
