"""Drop-in classes for existing code bases."""
