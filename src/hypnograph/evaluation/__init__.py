"""Numbers about hypnograms: of two scorers, of one night, of many nights."""
