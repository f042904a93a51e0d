SELECT to_regclass('reviews') IS NOT NULL;
