# The image runs the daemon as an ordinary user on port 5300. It needs no capability and no writable file system.
ARG BASE=node:22-bookworm-slim

FROM ${BASE} AS build
WORKDIR /build
COPY package.json package-lock.json tsconfig.json bundle.js ./
RUN npm ci --ignore-scripts
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM ${BASE}
WORKDIR /opt/dotstub
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY config/container.yaml /etc/dotstub/dotstub.yaml
# For the control socket and state. With a read-only root, mount volumes here; without them the daemon runs with neither.
RUN install -d -o 65532 -g 65532 /run/dotstub /var/lib/dotstub
# A numeric user, so that Kubernetes can check that it is not root.
USER 65532:65532
EXPOSE 5300/udp 5300/tcp 9153/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=2 CMD ["node", "/opt/dotstub/dist/cli.js", "health", "--config", "/etc/dotstub/dotstub.yaml"]
ENTRYPOINT ["node", "/opt/dotstub/dist/cli.js"]
CMD ["run", "--config", "/etc/dotstub/dotstub.yaml"]
