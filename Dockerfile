# The image runs the daemon as an ordinary user on port 5300. It needs no capability and no writable file system. It holds
# what the archive for Linux holds (packaging/), the C library, and nothing else: no shell, no other program. There is no
# image of dotstub to pull: build it from a clone, with a tag of a registry of your own if others are to pull it.
#
#   docker build -t registry.example/dotstub:0.1.0 --label org.opencontainers.image.revision="$(git rev-parse HEAD)" .
#   docker push registry.example/dotstub:0.1.0
#
# BASE has Node.js and npm to build with, and the C and C++ libraries of Debian. The image has a Node.js of its own, that of
# packaging/runtime. For another kind of processor: --platform linux/arm64. No program of it is run while building.
ARG BASE=node:24-bookworm-slim
# Where the libraries are from, if not from BASE.
ARG LIBRARIES=${BASE}

FROM --platform=$BUILDPLATFORM ${BASE} AS build
WORKDIR /build
COPY package.json package-lock.json tsconfig.json bundle.js ./
RUN npm ci --ignore-scripts
COPY README.md CHANGELOG.md SECURITY.md LICENSE ./
COPY src ./src
COPY packaging ./packaging
COPY config ./config
COPY deploy ./deploy
COPY docs ./docs
COPY man ./man
COPY systemd ./systemd
ARG TARGETARCH=amd64
RUN npm run --silent package -- ${TARGETARCH} --tree /tree && mkdir /empty /links && ln -s lib /links/lib64

FROM ${LIBRARIES} AS libraries

FROM scratch
LABEL org.opencontainers.image.title="dotstub" \
      org.opencontainers.image.description="A DNS-over-TLS stub resolver daemon: Private DNS for laptops, routers and containers" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/dotstub/dotstub" \
      org.opencontainers.image.documentation="https://github.com/dotstub/dotstub#readme"
COPY --from=libraries /usr/lib/*-linux-gnu/ld-linux-*.so.* /usr/lib/*-linux-gnu/libc.so.6 /usr/lib/*-linux-gnu/libdl.so.2 \
     /usr/lib/*-linux-gnu/libm.so.6 /usr/lib/*-linux-gnu/libpthread.so.0 /usr/lib/*-linux-gnu/libgcc_s.so.1 \
     /usr/lib/*-linux-gnu/libstdc++.so.6 /lib/
# Programs for x64 look for the loader in /lib64.
COPY --from=build /links /
COPY --from=build /tree/lib/dotstub /opt/dotstub
COPY --from=build /tree/share/doc/dotstub/LICENSE /tree/share/doc/dotstub/LICENCES.txt /opt/dotstub/
# The licences of these libraries, and the texts that they refer to.
COPY --from=libraries /usr/share/doc/libc6/copyright /usr/share/doc/libc6/
COPY --from=libraries /usr/share/doc/gcc-*-base/copyright /usr/share/doc/libstdc++6/
COPY --from=libraries /usr/share/common-licenses/GFDL-1.2 /usr/share/common-licenses/GPL-2 /usr/share/common-licenses/GPL-3 \
     /usr/share/common-licenses/LGPL-2.1 /usr/share/common-licenses/LGPL-3 /usr/share/common-licenses/
COPY config/container.yaml /etc/dotstub/dotstub.yaml
# For the control socket and state. With a read-only root, mount volumes here; without them the daemon runs with neither.
COPY --from=build --chown=65532:65532 /empty /run/dotstub
COPY --from=build --chown=65532:65532 /empty /var/lib/dotstub
# Where a start keeps what Node.js has compiled, for the next one.
ENV PATH=/opt/dotstub STATE_DIRECTORY=/var/lib/dotstub
# A numeric user, so that Kubernetes can check that it is not root.
USER 65532:65532
EXPOSE 5300/udp 5300/tcp 9153/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=2 CMD ["node", "/opt/dotstub/dist/cli.js", "health", "--config", "/etc/dotstub/dotstub.yaml"]
ENTRYPOINT ["node", "/opt/dotstub/dist/cli.js"]
CMD ["run", "--config", "/etc/dotstub/dotstub.yaml"]
