# Squizzle's flows, with PostgreSQL's client programs: for work pools of Docker and Kubernetes, and for `squizzle serve`.
#   docker build -t squizzle .
FROM python:3.12-slim-bookworm

# pg_dump must not be older than the server. PostgreSQL's own repository has every major version (apt.postgresql.org).
ARG PG_MAJOR=18
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates postgresql-common \
 && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
 && apt-get install --yes --no-install-recommends "postgresql-client-${PG_MAJOR}" \
 && rm -rf /var/lib/apt/lists/*

# The folder that flows are imported from; squizzle.toml, migrations and stages files are mounted beside it.
WORKDIR /opt/squizzle
COPY pyproject.toml constraints.txt README.md LICENSE prefect.yaml ./
COPY squizzle squizzle
COPY blocks blocks
COPY tasks tasks
COPY flows flows
COPY examples examples
# Where it lies: prefect.yaml and the examples are found beside the flows.
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[dask,kubernetes]'

# PostgreSQL refuses to run as root: drills and rehearsals without a server start one of their own.
RUN useradd --create-home --uid 10001 squizzle
USER squizzle
ENV PYTHONUNBUFFERED=1
CMD ["squizzle", "serve"]
