"""A payment by Stripe Checkout: counted once, and refunded when it comes too late."""
