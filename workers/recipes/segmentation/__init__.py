"""What the recipes share that learn the class of every pixel: labels, augmentation, loss, judgement."""
