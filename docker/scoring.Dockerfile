# The scoring server alone: no Dagster, no training, no code for GPUs, and nothing to install or build with.
# PYTHON may name the base by its digest too: --build-arg PYTHON=python:3.11-slim-bookworm@sha256:…
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS dependencies
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils
RUN python -m venv --without-pip /opt/venv
COPY requirements/scoring.lock /build/
# A quarter less: libraries' own tests, their symbols and ONNX Runtime's second copy of itself, for C programs, stay
# behind; bytecode is written below, of what serving imports.
# What wheels bundle (*.libs) was moved by a tool whose results strip may break.
RUN pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
    --no-deps --require-hashes -r /build/scoring.lock \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
    && find /opt/venv -name 'libonnxruntime.so*' -delete \
    && find /opt/venv -name '*.so*' -type f -not -path '*.libs/*' -exec strip --strip-unneeded {} +
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/scoring
COPY loan_default/*.py /opt/scoring/loan_default/
COPY loan_default/conf /opt/scoring/loan_default/conf
COPY loan_default/risk /opt/scoring/loan_default/risk
COPY loan_default/adapters /opt/scoring/loan_default/adapters
COPY loan_default/serving /opt/scoring/loan_default/serving
COPY loan_default/operations /opt/scoring/loan_default/operations
COPY loan_default/cli /opt/scoring/loan_default/cli
COPY docker/scoring.py docker/healthy.py /opt/scoring/
RUN python /opt/scoring/scoring.py

FROM ${PYTHON} AS root
RUN groupadd --gid 10001 loan-default && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home loan-default \
    && install -d -o 10001 -g 10001 /var/lib/loan-default /storage \
    && rm -rf /usr/lib/python3*/dist-packages/* /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip* /usr/bin/pip* \
        /usr/lib/python3*/ensurepip /usr/local/lib/python3*/ensurepip /usr/share/python-wheels \
        /usr/share/doc /usr/share/man /usr/share/locale /var/cache/* /var/lib/apt/* /var/log/*
COPY --from=dependencies /opt/venv /opt/venv

# From nothing, so that what was removed is gone; the code is a layer of its own.
FROM scratch
COPY --from=root / /
COPY --from=dependencies /opt/scoring /opt/scoring
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/scoring \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LANG=C.UTF-8 \
    LOAN_DEFAULT_HOME=/var/lib/loan-default
WORKDIR /opt/scoring
ARG VERSION=
# SageMaker then says which port to listen on, where several containers share an endpoint.
LABEL org.opencontainers.image.version=$VERSION com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
USER 10001:10001
VOLUME ["/var/lib/loan-default", "/storage"]
EXPOSE 5001
# SageMaker runs the image with the one argument `serve`; Vertex AI as it is.
ENTRYPOINT ["python", "-m", "loan_default.cli"]
CMD ["serve", "--host", "0.0.0.0"]
