"""Any frame of a clip under two recipes, to look at and to listen to."""
