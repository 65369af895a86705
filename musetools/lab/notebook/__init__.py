"""One notebook, executed so that its verdict can be believed and nothing good is lost."""
