"""What is wrong with a clip, or with a folder of them."""
