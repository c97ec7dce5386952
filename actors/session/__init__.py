"""An instance's mailbox and state machine.

`inputs` says what can happen, `effects` what may be asked of the outside, `machine` which follows from which;
`actor` is the shell that turns messages into inputs and carries the effects out.
"""
