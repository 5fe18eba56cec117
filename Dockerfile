# syntax=docker/dockerfile:1
# One image for every role: `docker run headgate worker …`, `… gateway`, `… topics apply`.
# A build that must be repeatable names the base by digest:
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:<digest> --tag headgate:0.1.0 .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
# The environment is filled from outside, so that no pip gets into it.
RUN python -m venv --without-pip /opt/headgate
COPY requirements.txt ./
# Wheels only: no package runs code of its own while it is installed, and no compiler is needed.
RUN --mount=type=cache,target=/tmp/pip-cache PIP_CACHE_DIR=/tmp/pip-cache \
    pip --python /opt/headgate/bin/python install --no-deps --require-hashes --only-binary :all: --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY topics topics
COPY headgate headgate
COPY connectors connectors
COPY app app
# The build backend came with the lock; nothing is fetched here.
RUN pip --python /opt/headgate/bin/python install --no-index --no-deps --no-build-isolation . \
    && pip --python /opt/headgate/bin/python uninstall --yes setuptools wheel \
    && /opt/headgate/bin/headgate --help > /dev/null

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="headgate" \
      org.opencontainers.image.description="Kafka-native, event-driven, durable workflows in Python. Kafka is the only store." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/headgate /opt/headgate
# The root file system may be read-only: everything is compiled already, and only /tmp and /data are written to.
ENV PATH=/opt/headgate/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN install --directory --owner 10001 --group 10001 /data /workflows
WORKDIR /workflows
# A number, so that Kubernetes can tell that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
# Every role has endpoints of its own for this: /healthz and /readyz.
HEALTHCHECK NONE
ENTRYPOINT ["headgate"]
CMD ["--help"]
