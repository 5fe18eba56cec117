"""What all connectors share: the frame that reads, publishes, waits for the broker and only then acknowledges.

contract.py                      what a kind is to the frame, and the frame to it: read this file first
instance/                        one source; runner.py runs it: connect, publish, acknowledge, move on, back off
fleet/                           one process of connectors: process.py, group.py (its lease), owner.py (one partition)
kinds/ reach/ services/ texts/   which kinds there are; what they may reach, share, and are told in options
"""
