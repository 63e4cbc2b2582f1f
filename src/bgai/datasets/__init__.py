"""Images to train and measure on."""
