"""`make bench`: every benchmark, one after the other."""

from bench import batches, lock_queue

if __name__ == "__main__":
    lock_queue.main()
    batches.main()
