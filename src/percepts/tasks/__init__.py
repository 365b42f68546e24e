"""The sentences a user says, one file per verb."""
