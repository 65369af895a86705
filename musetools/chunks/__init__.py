"""Feature rows in, one chunk per video frame out."""
