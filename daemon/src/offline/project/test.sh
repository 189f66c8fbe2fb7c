#!/bin/sh
# Checks the machine, and that the events lead where they should.
set -eu
cd "$(dirname "$0")"
statemesh check --strict machine.json
statemesh simulate machine.json --events events.jsonl --expect expected.jsonl
