# MLflow's server with its log-in; compose.yaml, or Cloud Run, gives it its database, its admin and its hosts.
# PYTHON may name the base by its digest too: --build-arg PYTHON=python:3.11-slim-bookworm@sha256:…
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS dependencies
RUN python -m venv --without-pip /opt/venv
COPY requirements/mlflow.lock /build/
RUN pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
    --no-deps --require-hashes -r /build/mlflow.lock

FROM ${PYTHON}
RUN groupadd --gid 10001 mlflow && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home mlflow \
    && install -d -o 10001 -g 10001 /storage
COPY --from=dependencies /opt/venv /opt/venv
COPY docker/mlflow.sh docker/healthy.py /opt/mlflow/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    GIT_PYTHON_REFRESH=quiet
WORKDIR /opt/mlflow
ARG VERSION=
LABEL org.opencontainers.image.version=$VERSION
USER 10001:10001
VOLUME ["/storage"]
EXPOSE 5000
ENTRYPOINT ["sh", "/opt/mlflow/mlflow.sh"]
