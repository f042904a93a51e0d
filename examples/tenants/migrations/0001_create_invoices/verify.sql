SELECT to_regclass('invoices') IS NOT NULL;
