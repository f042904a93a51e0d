"""Writing the way back of a script: the reverse of each of its statements, and the proof that it is one."""
