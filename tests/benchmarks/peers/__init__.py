"""The peers measured beside us: see docs/peers.md."""
