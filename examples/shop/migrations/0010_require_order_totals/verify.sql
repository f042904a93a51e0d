SELECT attnotnull
FROM pg_attribute
WHERE attrelid = to_regclass('orders') AND attname = 'total_amount' AND NOT attisdropped;

-- In every partition too.
SELECT NOT EXISTS (
    SELECT 1
    FROM pg_inherits AS h
    JOIN pg_attribute AS a ON a.attrelid = h.inhrelid AND a.attname = 'total_amount' AND NOT a.attisdropped
    WHERE h.inhparent = to_regclass('orders') AND NOT a.attnotnull
);

-- The scaffolding is gone.
SELECT NOT EXISTS (
    SELECT 1
    FROM pg_constraint
    WHERE conrelid = to_regclass('orders') AND conname = 'orders_total_amount_present'
);
