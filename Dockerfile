# One image for every role: each queue's workers, beat, flower and the `auxip` command.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/auxip
WORKDIR /src
# The locked dependencies are a layer of their own: a change of the code does not install them again.
COPY requirements/runtime.txt requirements/
RUN /opt/auxip/bin/pip install --no-deps --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY local local
COPY shared shared
COPY workers workers
RUN /opt/auxip/bin/pip install --no-deps . && /opt/auxip/bin/pip check

FROM ${BASE_IMAGE}
# The numeric id is what Kubernetes' runAsNonRoot can check; the name is what Celery looks up at start.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/auxip --shell /usr/sbin/nologin auxip \
    && install --directory --owner auxip --group auxip /var/lib/auxip
COPY --from=build /opt/auxip /opt/auxip
ENV PATH=/opt/auxip/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/auxip
ENTRYPOINT ["celery", "--app", "workers.app:app", "--quiet"]
CMD ["--help"]
