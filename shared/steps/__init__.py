"""What each step of a run does, without a word about queues: find, stage, publish, expand, settle, close."""
