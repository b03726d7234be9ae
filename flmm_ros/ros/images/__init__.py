"""Camera images: subscriptions, the newest image, decoding."""
