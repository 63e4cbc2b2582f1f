# bgai serve, without root and for a read-only file system; see compose.yaml.
FROM python:3.12 AS build
ARG EXTRAS=web
ENV BGAI_NATIVE=1
WORKDIR /source
COPY . .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /data bgai
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH BGAI_CACHE=/data/cache PYTHONDONTWRITEBYTECODE=1
USER 10001
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
ENTRYPOINT ["bgai", "serve", "--host", "0.0.0.0", "--no-browser", "--folder", "/data/jobs"]
