-- Why: "my reviews" reads the whole table, and deleting a user does too, because of the foreign key.
-- Lock: SHARE UPDATE EXCLUSIVE on reviews, so reads and writes go on; it waits for transactions older than itself.
-- CONCURRENTLY cannot run in a transaction, which is why it is alone here.
CREATE INDEX CONCURRENTLY reviews_user_id_idx ON reviews (user_id, created_at DESC);
