"""The console's web server: one page, one socket, who may use it."""
