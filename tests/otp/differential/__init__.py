"""The differential test: random scenarios on OTP's own supervisor and on ours, traces compared."""
