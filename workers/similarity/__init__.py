"""Compare many vectors and many pictures: clusters, near pairs, components, samples, fingerprints; numpy alone."""
