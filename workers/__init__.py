"""The floor that sees one batch: networks, stages, recipes and codecs in pure torch, numpy and arrow."""
