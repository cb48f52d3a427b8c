# ligandsmith with scoring and the studio, without the tools of development.
#
#   docker build --tag ligandsmith .                               for the CPU
#   docker build --tag ligandsmith:cuda --build-arg TORCH=cu130 .  for NVIDIA GPUs; run it with --gpus all
#   docker run --rm --user "$(id -u)" --volume "$PWD:/work" ligandsmith generate --checkpoint small ...
#
# TORCH is a backend of uv: cpu, or the CUDA version of the wheel (cu126, cu130, ...). The wheel brings CUDA along.
# Python 3.12 is the newest for which AutoDock Vina has wheels.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH=cpu
ENV UV_TORCH_BACKEND=${TORCH} \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_COMPILE_BYTECODE=1 \
    VIRTUAL_ENV=/opt/ligandsmith
RUN pip install --no-cache-dir uv==0.13.9 && uv venv "$VIRTUAL_ENV"
WORKDIR /source
# Each layer is built again only if its files change: torch, the other packages, ligandsmith itself.
COPY requirements/torch.txt requirements/
RUN uv pip install --requirement requirements/torch.txt
COPY requirements/lock.txt requirements/
COPY pyproject.toml ./
RUN uv pip install --requirement pyproject.toml --extra evaluate --extra studio --extra protonate \
    --constraint requirements/torch.txt --constraint requirements/lock.txt
COPY README.md LICENSE MANIFEST.in ./
COPY src src
RUN uv pip install --no-deps .

FROM python:${PYTHON}-slim
# RDKit's drawing code is linked to the X11 client libraries.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libxrender1 libxext6 libexpat1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ligandsmith
COPY --from=build /opt/ligandsmith /opt/ligandsmith
# A user given with --user has no home: caches go to /tmp.
ENV PATH=/opt/ligandsmith/bin:$PATH \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
USER 1000
ENTRYPOINT ["ligandsmith"]
CMD ["--help"]
