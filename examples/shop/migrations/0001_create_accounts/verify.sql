-- Stays true after every later version, so it does not name users.full_name as a column (0012 drops it).

SELECT to_regclass('users') IS NOT NULL AND to_regclass('addresses') IS NOT NULL;

-- The name is there, in one piece or in two.
SELECT count(*) > 0
FROM pg_attribute
WHERE attrelid = to_regclass('users') AND attname IN ('full_name', 'family_name') AND NOT attisdropped;

SELECT count(*) = 1
FROM pg_constraint
WHERE conrelid = to_regclass('addresses') AND confrelid = to_regclass('users')
  AND conname = 'addresses_user_id_fkey' AND contype = 'f' AND convalidated;

SELECT count(*) = 4
FROM pg_constraint
WHERE conrelid IN (to_regclass('users'), to_regclass('addresses')) AND convalidated
  AND conname IN ('users_email_has_at', 'users_role_known', 'addresses_kind_known', 'addresses_country_code_range');

SELECT indisunique AND indisvalid FROM pg_index WHERE indexrelid = to_regclass('users_email_key');

SELECT indisunique AND indisvalid FROM pg_index WHERE indexrelid = to_regclass('addresses_one_default_key');

SELECT attidentity = 'd' FROM pg_attribute WHERE attrelid = to_regclass('users') AND attname = 'id';

-- Every address belongs to somebody. The key says so too; a NOT VALID key would not.
SELECT NOT EXISTS (
    SELECT 1 FROM addresses AS a LEFT JOIN users AS u ON u.id = a.user_id WHERE u.id IS NULL
);

SELECT NOT EXISTS (SELECT 1 FROM users WHERE updated_at < created_at);
