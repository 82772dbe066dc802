# The server in an image: docker build -t chachaml-lite . && docker run -e CHACHAML_TOKEN=... -p 8080:8080 chachaml-lite
FROM python:3.13-slim AS build
COPY pyproject.toml setup.cfg README.md LICENSE /source/
COPY chachaml_lite /source/chachaml_lite
RUN python -m venv /opt/chachaml-lite \
    && /opt/chachaml-lite/bin/python -m pip install --no-cache-dir --disable-pip-version-check /source

FROM python:3.13-slim
COPY --from=build /opt/chachaml-lite /opt/chachaml-lite
RUN groupadd --gid 1000 chachaml \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /data --shell /usr/sbin/nologin chachaml \
    && install --directory --owner=chachaml --group=chachaml --mode=0700 /data
# By number, so that Kubernetes can see that it isn't root.
USER 1000:1000
VOLUME /data
# Without CHACHAML_TOKEN, or CHACHAML_NO_TOKEN=1, the server refuses to listen on all addresses, and says so.
ENV PATH=/opt/chachaml-lite/bin:$PATH \
    CHACHAML_HOST=0.0.0.0 \
    CHACHAML_PORT=8080 \
    CHACHAML_DATA=/data
EXPOSE 8080
# The exec form: the server itself gets SIGTERM, and lets requests in flight finish, for 30 s at most.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import http.client, os; connection = http.client.HTTPConnection('127.0.0.1', int(os.environ['CHACHAML_PORT']), timeout=4); connection.request('GET', '/api/health'); raise SystemExit(connection.getresponse().status != 200)"]
ENTRYPOINT ["chachaml-lite"]
CMD ["serve"]
