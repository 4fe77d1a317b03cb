# The image runs the daemon as an ordinary user on port 5300. It needs no capability and no writable file system. There is
# no image of dotstub to pull: build it from a clone, with a tag of a registry of your own if others are to pull it.
#
#   docker build -t registry.example/dotstub:0.1.0 --label org.opencontainers.image.revision="$(git rev-parse HEAD)" .
#   docker push registry.example/dotstub:0.1.0
#
# BASE has Node.js and npm. Node.js 24 gets fixes until April 2028.
ARG BASE=node:24-bookworm-slim

FROM ${BASE} AS build
WORKDIR /build
COPY package.json package-lock.json tsconfig.json bundle.js ./
RUN npm ci --ignore-scripts
COPY src ./src
# The bundle holds all packages but koffi, which has native code, and which some processors have to do without.
RUN npm run build && npm ci --omit=dev --ignore-scripts

FROM ${BASE}
LABEL org.opencontainers.image.title="dotstub" \
      org.opencontainers.image.description="A DNS-over-TLS stub resolver daemon: Private DNS for laptops, routers and containers" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/dotstub/dotstub" \
      org.opencontainers.image.documentation="https://github.com/dotstub/dotstub#readme"
WORKDIR /opt/dotstub
COPY package.json LICENSE ./
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY config/container.yaml /etc/dotstub/dotstub.yaml
# A first start keeps what Node.js has compiled beside the program, for all later ones; there, nothing may be written.
RUN timeout 5 node dist/cli.js run --config /etc/dotstub/dotstub.yaml || true
# For the control socket and state. With a read-only root, mount volumes here; without them the daemon runs with neither.
RUN install -d -o 65532 -g 65532 /run/dotstub /var/lib/dotstub
# A numeric user, so that Kubernetes can check that it is not root.
USER 65532:65532
EXPOSE 5300/udp 5300/tcp 9153/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=2 CMD ["node", "/opt/dotstub/dist/cli.js", "health", "--config", "/etc/dotstub/dotstub.yaml"]
ENTRYPOINT ["node", "/opt/dotstub/dist/cli.js"]
CMD ["run", "--config", "/etc/dotstub/dotstub.yaml"]
