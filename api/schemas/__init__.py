"""The models of requests and replies: they validate, and the OpenAPI document is made of them."""
