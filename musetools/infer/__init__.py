"""The inference side: live streams, and drop-in classes for existing code bases."""
