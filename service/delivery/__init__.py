"""From the outbox to the network: each destination at its own pace, until it has taken what it is sent."""
