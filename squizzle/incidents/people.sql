-- Sessions of people who are, or were a moment ago, at work in this database: by the programs that people use, and by our
-- own verbs that change something. When a session was last active may be hidden from this account; then it counts.
SELECT pid, application_name, coalesce(usename, 'somebody')
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND (application_name ~* '^(psql|pgcli|pgadmin|dbeaver|datagrip|dbvisualizer|heidisql|navicat|postico|tableplus|azuredatastudio)'
       OR application_name ~ '^squizzle (migration|rollback|undo|recovery|restore|salvage|switch-over|triggers)')
  AND (state = 'active' OR state_change IS NULL OR state_change > clock_timestamp() - %(recent)s::interval)
ORDER BY pid
