"""From a video file to an enlarged one, frame by frame."""
