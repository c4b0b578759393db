# One image for Dagster's webserver, daemon and code server; compose.yaml gives each its command and its health check.
# PYTHON may name the base by its digest too: --build-arg PYTHON=python:3.11-slim-bookworm@sha256:…
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS dependencies
RUN python -m venv --without-pip /opt/venv
COPY requirements/runtime.lock /build/
# The base's pip fills an environment that has none itself; --no-deps, as the lock leaves NCCL out.
RUN pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
    --no-deps --require-hashes -r /build/runtime.lock

FROM dependencies AS package
COPY pyproject.toml README.md LICENSE /build/
COPY loan_default /build/loan_default
# The context has no history that would tell the version.
ARG VERSION=
RUN SETUPTOOLS_SCM_PRETEND_VERSION_FOR_LOAN_DEFAULT=$VERSION \
    pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
    --no-deps --no-build-isolation --prefix /package /build

FROM ${PYTHON}
RUN groupadd --gid 10001 loan-default && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home loan-default \
    && install -d -o 10001 -g 10001 /var/lib/loan-default /storage
COPY --from=dependencies /opt/venv /opt/venv
# A layer of its own: a change of code moves a megabyte, not the dependencies.
COPY --from=package /package /opt/venv
COPY docker/workspace.yaml docker/platform.sh docker/pipeline.py docker/healthy.py /opt/loan-default/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOAN_DEFAULT_HOME=/var/lib/loan-default \
    DAGSTER_HOME=/var/lib/loan-default/dagster \
    DAGSTER_DISABLE_TELEMETRY=yes
WORKDIR /opt/loan-default
ARG VERSION=
LABEL org.opencontainers.image.version=$VERSION
USER 10001:10001
VOLUME ["/var/lib/loan-default", "/storage"]
ENTRYPOINT ["sh", "/opt/loan-default/platform.sh"]
CMD ["dagster", "api", "grpc", "-h", "0.0.0.0", "-p", "4000", "-m", "loan_default.definitions"]
