"""The inference side: drop-in classes for existing code bases."""
