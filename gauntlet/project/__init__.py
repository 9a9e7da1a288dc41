"""What `gauntlet init` writes for a folder of images."""
