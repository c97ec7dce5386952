"""The behaviours that OTP's own supervisor_SUITE tests, each in a test of its name."""
