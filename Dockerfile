# The image of every pod and node: `docker build -t pixelmill:0.1.0 .`, and for NVIDIA GPUs
# `docker build --build-arg DEVICE=cuda -t pixelmill:0.1.0-cuda .`. A release pins PYTHON_IMAGE by its digest.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG DEVICE=cpu
ARG CUDA=cu130
ARG TORCH=2.14.1
ARG TORCHVISION=0.29.1
ARG RAY=2.60.0
ARG EXTRAS=cluster,train,timm,hf,ct
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN python -m venv /opt/pixelmill
ENV PATH=/opt/pixelmill/bin:$PATH
# Torch first, from the index of its device: the plain one brings gigabytes of CUDA to machines without a GPU.
RUN case "${DEVICE}" in \
      cpu) index=https://download.pytorch.org/whl/cpu ;; \
      cuda) index=https://download.pytorch.org/whl/${CUDA} ;; \
      *) echo "DEVICE is ${DEVICE}; there are cpu and cuda" >&2; exit 2 ;; \
    esac \
    && pip install "torch==${TORCH}" "torchvision==${TORCHVISION}" --index-url "${index}"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY pixelmill ./pixelmill
COPY jobs ./jobs
COPY pipelines ./pipelines
COPY workers ./workers
RUN pip install ".[${EXTRAS}]" "ray[default,data,train]==${RAY}"

FROM ${PYTHON_IMAGE}
# wget: KubeRay's probes ask Ray's agents with it. libgomp1: torch. No package is upgraded: the base image is.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates=20230311* libgomp1=12.2.0-* wget=1.21.3-* \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 pixelmill \
    && useradd --uid 1000 --gid 1000 --create-home --shell /usr/sbin/nologin pixelmill
COPY --from=build /opt/pixelmill /opt/pixelmill
ENV PATH=/opt/pixelmill/bin:$PATH PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/pixelmill
CMD ["pixelmill", "--help"]
