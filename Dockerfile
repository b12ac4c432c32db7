# The server, for a MongoDB elsewhere: give it FHIRSERVER_MONGODB_URI.
# Not exercised by CI; see docs/how-to/docker.md.
FROM python:3.12-slim-bookworm AS build
RUN python -m venv /opt/fhirserver
WORKDIR /source
COPY requirements.txt ./
RUN /opt/fhirserver/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY profiles profiles
COPY terminology terminology
COPY adapters* adapters
COPY fhirserver fhirserver
RUN /opt/fhirserver/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/fhirserver/bin/pip uninstall --yes pip

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin fhirserver \
 && install -d -o fhirserver -g fhirserver -m 0700 /data
COPY --from=build /opt/fhirserver /opt/fhirserver
ENV PATH=/opt/fhirserver/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    FHIRSERVER_DATA_DIR=/data
USER fhirserver
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["fhirserver"]
CMD ["serve"]
