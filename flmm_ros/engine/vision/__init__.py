"""Image encoders that read pixels: SAM's and the small convolutional one."""
