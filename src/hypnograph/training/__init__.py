"""Training: splits, sampling, augmentation, objectives, the loop."""
