# The image: one binary and the C library, no shell, no root; for amd64 and arm64.
#     docker buildx build --platform linux/amd64,linux/arm64 --tag statemesh/statemesh:0.1.0 .
# Without a container engine, `cargo xtask image` makes the same binary, for a test cluster.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
ARG TARGETPLATFORM
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETPLATFORM \
    cargo build --release --locked --package statemesh --features kubernetes && \
    mkdir -p /rootfs/usr/local/bin /rootfs/var/lib/statemesh && \
    strip -o /rootfs/usr/local/bin/statemesh target/release/statemesh && \
    ldd target/release/statemesh | grep -o '/[^ ]*' | xargs cp --dereference --parents --target-directory /rootfs

FROM scratch
COPY --from=build /rootfs /
EXPOSE 7400 7401 7402 7403/udp 7480
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/statemesh"]
CMD ["daemon"]
