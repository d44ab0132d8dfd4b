"""Pictures made by a GPU provider: asked for by a poller, then told by a signed webhook."""
