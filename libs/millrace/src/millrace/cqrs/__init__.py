"""Commands and events as protobuf: what a type declares about itself, buses that send, processors that hand to handlers."""
