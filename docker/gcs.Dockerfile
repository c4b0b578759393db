# A bucket on this machine, for trying gs:// out: nothing in it is safe, and it has no log-in.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS dependencies
RUN python -m venv --without-pip /opt/venv
COPY requirements/gcs.lock /build/
RUN pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
    --no-deps --require-hashes -r /build/gcs.lock

FROM ${PYTHON}
RUN groupadd --gid 10001 gcs && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home gcs \
    && install -d -o 10001 -g 10001 /bucket
COPY --from=dependencies /opt/venv /opt/venv
COPY docker/healthy.py /opt/gcs/
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /bucket
ARG VERSION=
LABEL org.opencontainers.image.version=$VERSION
USER 10001:10001
VOLUME ["/bucket"]
EXPOSE 9023
ENTRYPOINT ["gcp-storage-emulator", "--data-dir", "/bucket", "start", "--host", "0.0.0.0", "--port", "9023"]
CMD ["--quiet", "--default-bucket", "loan-default"]
