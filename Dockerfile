# syntax=docker/dockerfile:1
#
#   docker build -t isthmus .                                   for CPUs
#   docker build -t isthmus:cuda --build-arg VARIANT=cuda .     for NVIDIA GPUs (run with --gpus all)
#   docker build -t isthmus:train --build-arg EXTRAS=train .    with what `isthmus train` needs
#
#   docker run -p 8080:8080 -v isthmus-data:/data -v "$PWD/models:/models:ro" isthmus
#   docker run -p 8080:8080 isthmus demo                        with the sample gallery
#
# VARIANT chooses where torch comes from. The constraints pin its version; PyTorch's own index adds the
# build of that version without CUDA (2.13.0+cpu), which pip prefers, and the nvidia pins stay unused.
ARG VARIANT=cpu

FROM python:3.11-slim-bookworm AS python-cpu
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

FROM python:3.11-slim-bookworm AS python-cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ISTHMUS_DEVICE=cuda

# ---- build: a virtual environment with the service in it ----
# hadolint ignore=DL3006
FROM python-${VARIANT} AS build
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /source
RUN python -m venv /opt/isthmus
COPY pyproject.toml constraints.txt README.md ./
COPY connectors connectors
COPY training training
COPY service service
RUN /opt/isthmus/bin/pip install -c constraints.txt ".${EXTRAS:+[${EXTRAS}]}"

# ---- the image: Python, the environment, a user without rights ----
# hadolint ignore=DL3006
FROM python-${VARIANT} AS final
RUN groupadd --gid 10001 isthmus \
    && useradd --uid 10001 --gid isthmus --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin isthmus \
    && install -d -o isthmus -g isthmus /data /models
COPY --from=build /opt/isthmus /opt/isthmus
ENV PATH=/opt/isthmus/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    ISTHMUS_HOST=0.0.0.0 \
    ISTHMUS_PORT=8080 \
    ISTHMUS_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/models"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=6s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ[\"ISTHMUS_PORT\"]}/readyz', timeout=5)"]
ENTRYPOINT ["isthmus"]
CMD ["serve"]
