"""From frozen encoders to served connectors: features, pseudo-pairs, projectors, evaluation."""
