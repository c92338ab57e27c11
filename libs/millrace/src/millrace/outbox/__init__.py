"""Messages that commit with the state they tell of, and the relay that publishes them."""
