# Two images from one wheel: `--target node` for borrowed devices, `--target gateway` for the rest.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY broker broker
COPY models models
COPY node_agent node_agent
COPY gateway gateway
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 990 --no-create-home --shell /usr/sbin/nologin idlesight

FROM base AS node
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/idlesight-*.whl)[node]"
USER idlesight
ENTRYPOINT ["idlesight-node"]
CMD ["--help"]

FROM base AS gateway
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/idlesight-*.whl)[gateway]"
# What is set from Home Assistant outlives the container in a volume there.
RUN install -d -o idlesight /var/lib/idlesight
ENV STATE_DIRECTORY=/var/lib/idlesight
USER idlesight
ENTRYPOINT ["idlesight-gateway"]
CMD ["--help"]
