SELECT NOT EXISTS (
    SELECT 1
    FROM pg_attribute
    WHERE attrelid = to_regclass('users') AND attname = 'full_name' AND NOT attisdropped
);

SELECT attnotnull
FROM pg_attribute
WHERE attrelid = to_regclass('users') AND attname = 'family_name' AND NOT attisdropped;

SELECT count(*) = 2
FROM pg_constraint
WHERE conrelid = to_regclass('users') AND contype = 'c' AND convalidated
  AND conname IN ('users_family_name_one_word', 'users_name_length');

SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('users_family_name_idx');

-- The views still show whole names.
SELECT NOT EXISTS (SELECT 1 FROM customer_overview WHERE full_name IS NULL OR full_name = '');

SELECT NOT EXISTS (SELECT 1 FROM published_reviews WHERE author IS NULL OR author = '');
