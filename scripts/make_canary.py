"""Writes src/percepts/data/canary.json anew: what `percepts doctor` expects of the default encoders.

python scripts/make_canary.py        after a change that is meant to change their vectors, and only then
"""

from percepts.cli.doctor.canary import write_expected

if __name__ == "__main__":
    write_expected()
