"""Shared by the recipes for semantic segmentation: labels, augmentation, loss, evaluation."""
