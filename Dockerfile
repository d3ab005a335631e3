# docker build -t octavo .                        for CPUs
# docker build -t octavo:cuda --target cuda .     and for one NVIDIA Hopper GPU
#
# docker run -p 8000:8000 octavo                                             serves the bundled model
# docker run -p 8000:8000 -v ~/.cache/huggingface:/models octavo serve owner/name
# docker run --gpus all -p 8000:8000 -v ~/.cache/huggingface:/models octavo:cuda serve owner/name

FROM debian:12-slim AS build-cpu
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates make
WORKDIR /octavo
COPY scripts scripts
RUN scripts/setup
COPY . .
RUN make build OCTAVO_CUDA=off && cmake --install build/release --prefix /out --component program --strip

FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS build-cuda
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates make
WORKDIR /octavo
COPY scripts scripts
RUN scripts/setup
COPY . .
RUN make build OCTAVO_CUDA=on && cmake --install build/release --prefix /out --component program --strip

# The program opens cuBLASLt where it is there; the driver comes from the host.
FROM nvidia/cuda:13.0.1-base-ubuntu24.04 AS cuda
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libcublas-13-0 \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home octavo && mkdir /models && chown octavo /models
COPY --from=build-cuda /out /usr/local
USER octavo
ENV HF_HOME=/models
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["octavo"]
CMD ["serve"]

FROM debian:12-slim AS cpu
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home octavo && mkdir /models && chown octavo /models
COPY --from=build-cpu /out /usr/local
USER octavo
ENV HF_HOME=/models
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["octavo"]
CMD ["serve"]
