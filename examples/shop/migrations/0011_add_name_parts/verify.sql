SELECT count(*) = 2
FROM pg_attribute
WHERE attrelid = to_regclass('users') AND attname IN ('given_name', 'family_name')
  AND atttypid = 'text'::regtype AND NOT attisdropped;

-- NOT VALID here, validated by 0012: either is fine.
SELECT count(*) = 1
FROM pg_constraint
WHERE conrelid = to_regclass('users') AND conname = 'users_family_name_one_word' AND contype = 'c';

SELECT NOT EXISTS (SELECT 1 FROM users WHERE strpos(family_name, ' ') > 0);
