"""Sizes and positions of pixels: resizing, cropping, turning."""
