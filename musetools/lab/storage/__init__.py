"""What saved features cost."""
